//! Vectors of one's own, a payload, and filters: built or written as text.

use std::error::Error;

use latewood::{Database, Document, FieldType, Filter, Metric, SchemaBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("latewood-filtered-{}", std::process::id()));
    let db = Database::open(&folder)?;
    let schema = SchemaBuilder::new()
        .dense(3, Metric::Cosine)
        .field("colour", FieldType::Keyword)
        .field("year", FieldType::Int);
    let paints = db.create_collection("paints", schema)?;
    paints.upsert_many([
        Document::new("brick")
            .dense([0.8, 0.3, 0.2])
            .field("colour", "red")
            .field("year", 1999),
        Document::new("rose")
            .dense([1.0, 0.4, 0.5])
            .field("colour", "red")
            .field("year", 2021),
        Document::new("moss")
            .dense([0.3, 0.5, 0.2])
            .field("colour", "green")
            .field("year", 2015),
        Document::new("sea")
            .dense([0.1, 0.5, 0.7])
            .field("colour", "blue")
            .field("year", 2022),
    ])?;

    let query = || paints.query().dense([0.9, 0.4, 0.4]).limit(2);
    let show = |what: &str, hits: Vec<latewood::Hit>| {
        let names: Vec<String> = hits
            .iter()
            .map(|hit| format!("{} {:.3}", hit.id, hit.score))
            .collect();
        println!("{what:<42} {}", names.join(", "));
    };
    show("any", query().run()?);
    show(
        "colour = \"red\" and year >= 2000",
        query().filter("colour = \"red\" and year >= 2000").run()?,
    );
    let not_red = !Filter::eq("colour", "red");
    show(&not_red.to_string(), query().filter(&not_red).run()?);
    println!("{} paints are not red", paints.count(&not_red)?);
    match query().filter("color = \"red\"").run() {
        Ok(_) => println!("a field that was never declared was accepted"),
        Err(e) => println!("a misspelled field: {e}"),
    }
    db.close()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
