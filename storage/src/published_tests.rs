//! Who lets go of what was replaced. In a file of its own, as `interleavings` builds the other with threads of its own.

use std::sync::Arc;

use crate::published::Published;

#[test]
fn what_is_read_when_it_is_replaced_is_let_go_by_the_writer_and_not_by_the_reader() {
    let value = Published::new(Arc::new(0));
    let replace = |next: &Arc<i32>| value.change(|_| Ok((Arc::clone(next), ()))).unwrap();
    let (first, second, third) = (Arc::new(1), Arc::new(2), Arc::new(3));
    replace(&first);
    let read = value.load_full();
    replace(&second);
    assert_eq!((**read, Arc::strong_count(&first)), (1, 2));
    drop(read);
    assert_eq!(
        Arc::strong_count(&first),
        2,
        "it was not the reader's to take apart"
    );
    replace(&third);
    assert_eq!(Arc::strong_count(&first), 1, "the next change does it");
    assert_eq!(Arc::strong_count(&second), 1, "nobody reads that one");
    let read = value.load_full();
    replace(&first);
    assert!(!value.forget_unread());
    drop(read);
    assert!(value.forget_unread() && Arc::strong_count(&third) == 1);
}
