//! The stages of a plan as bars on a line of time, and what was rejected below them.

use super::svg::Drawing;
use crate::{Analysis, Plan};

const WIDTH: f64 = 1000.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 250.0;
const ROOM: f64 = 560.0;
const ROW: f64 = 24.0;
/// Characters of a reason that fit a line; all of it shows where the pointer rests on the bar.
const LONGEST: usize = 130;

/// A row of the chart; times in microseconds.
struct Row {
    name: String,
    begins: f64,
    takes: f64,
    estimated: Option<f64>,
    tip: String,
}

/// What each stage of a plan is estimated to take.
pub(super) fn plan_chart(query: &str, plan: &Plan) -> String {
    let mut begins = 0.0;
    let mut rows = Vec::with_capacity(plan.stages.len());
    for stage in &plan.stages {
        let takes = stage.estimate.microseconds;
        rows.push(Row {
            name: stage.stage.name().to_string(),
            begins,
            takes,
            estimated: None,
            tip: format!("{}: {}", stage.stage, stage.reason),
        });
        begins += takes;
    }
    let title = format!("plan {}, estimated at {}", plan.name, time(begins));
    chart(&title, query, plan, &rows)
}

/// What each step of a query took; beside the first step of a stage, what the stage was estimated to take.
pub(super) fn analysis_chart(query: &str, analysis: &Analysis) -> String {
    let (plan, profile) = (&analysis.plan, &analysis.profile);
    let mut begins = 0.0;
    let mut before = None;
    let mut rows = Vec::with_capacity(profile.stages.len());
    for step in &profile.stages {
        let stage = step.planned.and_then(|number| plan.stages.get(number));
        let first = step.planned != before;
        before = step.planned;
        rows.push(Row {
            name: step.name.clone(),
            begins,
            takes: step.microseconds,
            estimated: stage.filter(|_| first).map(|stage| stage.estimate.microseconds),
            tip: match (stage, &step.note) {
                (Some(stage), Some(note)) => format!("{}: {}; {note}", stage.stage, stage.reason),
                (Some(stage), None) => format!("{}: {}", stage.stage, stage.reason),
                (None, note) => note.clone().unwrap_or_default(),
            },
        });
        begins += step.microseconds;
    }
    let title = format!("plan {}, took {}", plan.name, time(profile.total_microseconds));
    chart(&title, query, plan, &rows)
}

fn chart(title: &str, query: &str, plan: &Plan, rows: &[Row]) -> String {
    let mut drawing = Drawing::new(WIDTH);
    drawing.text((16.0, 28.0), "title", title);
    drawing.text((16.0, 48.0), "", &shortened(query));
    drawing.text(
        (16.0, 66.0),
        "note",
        &shortened(&format!("because {}", plan.reason)),
    );
    let y = draw_rows(&mut drawing, 84.0, rows);
    if !plan.rejected.is_empty() {
        drawing.text((16.0, y + 30.0), "title", "rejected");
        draw_rejected(&mut drawing, y + 42.0, plan);
    }
    drawing.finish()
}

/// Draws rows from `y` down, and says where they end.
fn draw_rows(drawing: &mut Drawing, mut y: f64, rows: &[Row]) -> f64 {
    let ends = |row: &Row| row.begins + row.takes.max(row.estimated.unwrap_or(0.0));
    let all = rows.iter().map(ends).fold(f64::MIN_POSITIVE, f64::max);
    let pixels = |microseconds: f64| ROOM * microseconds / all;
    for row in rows {
        let x = LEFT + pixels(row.begins);
        drawing.text((LEFT - 8.0, y + 15.0), "right", &row.name);
        let mut label = time(row.takes);
        if let Some(estimated) = row.estimated {
            drawing.bar((x, y), (pixels(estimated).max(1.0), ROW - 4.0), "pale", &row.tip);
            label += &format!(" (stage estimated {})", time(estimated));
        }
        drawing.bar(
            (x, y + 4.0),
            (pixels(row.takes).max(1.0), ROW - 12.0),
            "bar",
            &row.tip,
        );
        drawing.text((WIDTH - 16.0, y + 15.0), "right", &label);
        y += ROW;
    }
    y
}

fn draw_rejected(drawing: &mut Drawing, mut y: f64, plan: &Plan) {
    for rejected in &plan.rejected {
        let estimate = match &rejected.estimate {
            Some(estimate) => format!("estimated {}", time(estimate.microseconds)),
            None => "cannot run".to_owned(),
        };
        drawing.text((16.0, y + 15.0), "", &format!("{}: {estimate}", rejected.name));
        drawing.text((32.0, y + 30.0), "note", &shortened(&rejected.reason));
        y += ROW + 14.0;
    }
}

fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{}…", cut.trim_end())
}
