//! Disks that tests put in the place of the real one.

mod failing;
mod hooked;
mod image;
mod recording;

pub use failing::{Failing, Failure};
pub use hooked::{Call, Hook, HookedDisk};
pub use image::Loss;
pub use recording::RecordingDisk;
