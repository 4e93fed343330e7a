//! What a query says of itself: the plan, what it took, and what was drawn of it.

use std::time::Instant;

use latewood::{Analysis, Collection, Database, Document, LexicalSpec, Metric, SchemaBuilder};
use latewood_tests::command::{Ran, run};
use roxmltree::{Document as Xml, Node};
use tempfile::TempDir;

/// A question that would be markup, and a control character that no XML document may hold.
const MARKUP: &str = "birds </text><script>alert(1)</script> & \"night\" \u{1b}[31m";

fn latewood(arguments: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_latewood-under-test"), arguments)
}

fn notes() -> (TempDir, String, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db").to_str().unwrap().to_owned();
    let db = Database::open(&path).unwrap();
    let schema = SchemaBuilder::new().encoder("tiny").reranker("tiny");
    let notes = db.create_collection("notes", schema).unwrap();
    let texts = [
        ("owl", "Owls hunt mice at night, by ear.", "bird"),
        ("bat", "Bats hunt insects at night, by echo.", "mammal"),
        (
            "fox",
            "<script>alert('fox')</script> Foxes hunt at dusk & dawn.",
            "mammal",
        ),
        (
            "wal",
            "A write-ahead log makes a database survive a crash.",
            "log",
        ),
        ("gcc", "A compiler turns source code into machine code.", "tool"),
    ];
    let documents = texts.map(|(id, text, kind)| Document::new(id).text(text).field("kind", kind));
    notes.upsert_many(documents).unwrap();
    (folder, path, notes)
}

/// Two thousand documents of a few words, of 50 kinds.
fn many_lines() -> (TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let lines = db
        .create_collection(
            "lines",
            SchemaBuilder::new()
                .dense(2, Metric::Cosine)
                .lexical(LexicalSpec::default()),
        )
        .unwrap();
    let line = |n: u64| {
        let odd = if n % 2 == 1 { "odd" } else { "even" };
        Document::new(n)
            .text(format!("an {odd} line {n}"))
            .dense([1.0, n as f32])
            .field("kind", n % 50)
    };
    lines.upsert_many((0..2000).map(line)).unwrap();
    (folder, lines)
}

fn sum(analysis: &Analysis) -> f64 {
    analysis
        .profile
        .stages
        .iter()
        .map(|stage| stage.microseconds)
        .sum()
}

/// The share of the time of a call that its stages account for: the best of some calls, as a thread may be put off
/// between two readings of the clock.
fn share(analyze: impl Fn() -> Analysis) -> f64 {
    let once = || {
        let begun = Instant::now();
        let analysis = analyze();
        let wall = begun.elapsed().as_secs_f64() * 1e6;
        assert!(sum(&analysis) <= wall * 1.001, "{} of {wall}", sum(&analysis));
        sum(&analysis) / wall
    };
    (0..20).map(|_| once()).fold(0.0, f64::max)
}

#[test]
fn the_stages_account_for_the_time_of_a_query() {
    let (_folder, _, notes) = notes();
    for plan in ["dense", "maxsim", "bm25/dense", "dense+maxsim+rerank"] {
        let share = share(|| notes.query().text("hunts at night").plan(plan).analyze().unwrap());
        assert!(share >= 0.95, "{plan}: {share}");
    }
    // Nothing is encoded, so that little hides what is not counted.
    let (_folder, lines) = many_lines();
    let words = || lines.query().text("odd line").plan("bm25").limit(20);
    for (name, query) in [
        ("ordered", words().order_by("kind", false)),
        ("grouped", words().group_by("kind", 1)),
    ] {
        let share = share(|| query.clone().analyze().unwrap());
        assert!(share >= 0.95, "{name}: {share}");
    }
    let analysis = words().order_by("kind", false).analyze().unwrap();
    assert!(analysis.profile.stages.iter().any(|stage| stage.name == "order"));
}

#[test]
fn each_step_belongs_to_its_stage_of_the_plan() {
    let (_folder, _, notes) = notes();
    let analysis = notes
        .query()
        .text("hunts at night")
        .plan("bm25/dense+rerank")
        .analyze()
        .unwrap();
    let of = |number: usize| -> Vec<&str> {
        let steps = analysis.profile.stages.iter();
        let steps = steps.filter(|step| step.planned == Some(number));
        steps.map(|step| step.name.as_str()).collect()
    };
    assert_eq!(analysis.plan.stages.len(), 4);
    assert_eq!([of(0), of(1), of(2)], [["bm25"], ["dense scan"], ["fuse"]]);
    assert_eq!(of(3), ["texts", "rerank"]);
    let text = analysis.to_string();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    let order = [
        "plan bm25/dense+rerank",
        "─ encode",
        "─ bm25\n",
        "; estimated ",
        "─ rerank (depth 20)",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
}

#[test]
fn the_commands_print_trees_and_json() {
    let (_folder, db, notes) = notes();
    drop(notes);
    let explained = latewood(&["explain", &db, "notes", "hunts at night"]).ok().stdout;
    assert!(
        explained.starts_with("plan ") && explained.contains("rejected\n"),
        "{explained}"
    );
    assert!(!explained.contains("encode"), "it was not run: {explained}");
    let json = latewood(&["explain", &db, "notes", "hunts at night", "--json"])
        .ok()
        .json();
    let rejected = json["plan"]["rejected"].as_array().unwrap();
    assert!(!rejected.is_empty());
    for alternative in rejected {
        assert!(
            !alternative["reason"].as_str().unwrap().is_empty(),
            "{alternative}"
        );
    }
    let estimated = |name: &str| {
        let named = rejected.iter().find(|alternative| alternative["name"] == name);
        named.and_then(|alternative| alternative["estimate"]["microseconds"].as_f64())
    };
    assert!(
        estimated("dense").is_some_and(|microseconds| microseconds > 0.0),
        "{json}"
    );
    let analyze = [
        "analyze",
        &db,
        "notes",
        "hunts at night",
        "--plan",
        "dense+maxsim",
        "-k",
        "2",
    ];
    let analyzed = latewood(&analyze).ok().stdout;
    for part in [
        "─ encode",
        "─ maxsim rescore",
        "took ",
        "estimated ",
        "  1  ",
        "Owls hunt",
    ] {
        assert!(analyzed.contains(part), "{part} in {analyzed}");
    }
    let json = latewood(&[&analyze[..], &["--json"]].concat()).ok().json();
    let stages = json["profile"]["stages"].as_array().unwrap();
    assert!(stages.iter().any(|stage| stage["planned"] == 1), "{json}");
    assert_eq!(json["hits"].as_array().unwrap().len(), 2);
}

fn texts(drawing: &Xml<'_>, name: &str) -> Vec<String> {
    let named = |node: &Node<'_, '_>| node.has_tag_name(("http://www.w3.org/2000/svg", name));
    let nodes = drawing.descendants().filter(named);
    nodes.filter_map(|node| node.text().map(str::to_owned)).collect()
}

#[test]
fn drawings_are_well_formed_whatever_was_asked() {
    let (folder, db, notes) = notes();
    drop(notes);
    for command in ["explain", "analyze"] {
        let file = folder.path().join(command).with_extension("svg");
        let svg = file.to_str().unwrap();
        latewood(&[
            command,
            &db,
            "notes",
            MARKUP,
            "--plan",
            "dense+maxsim",
            "--svg",
            svg,
        ])
        .ok();
        let drawn = std::fs::read_to_string(&file).unwrap();
        let xml = Xml::parse(&drawn).unwrap_or_else(|e| panic!("{e}: {drawn}"));
        let texts = texts(&xml, "text");
        assert!(texts.contains(&MARKUP.replace('\u{1b}', "\u{fffd}")), "{texts:?}");
        assert!(texts.iter().any(|text| text == "maxsim rescore"), "{texts:?}");
        assert_eq!(texts.iter().any(|text| text == "encode"), command == "analyze");
        assert!(xml.descendants().all(|node| node.tag_name().name() != "script"));
        let widths = xml
            .descendants()
            .filter_map(|node| node.attribute("width")?.parse::<f64>().ok());
        assert!(
            widths.into_iter().all(|width| (0.0..=1000.0).contains(&width)),
            "{drawn}"
        );
    }
    let nowhere = folder.path().join("none/a.svg");
    let ran = latewood(&[
        "explain",
        &db,
        "notes",
        "owls",
        "--svg",
        nowhere.to_str().unwrap(),
    ]);
    assert!(ran.code == Some(1) && ran.stderr.contains("a.svg"), "{ran:?}");
}

fn maxsim_of(explanation: &latewood::HitExplanation) -> (Option<usize>, f32) {
    let stages = explanation.path.stages.iter();
    let scored = stages.rev().find(|stage| {
        use latewood::StageName::{MaxsimIndex, MaxsimScan, Rescore};
        matches!(stage.stage.name(), MaxsimScan | MaxsimIndex | Rescore)
    });
    let scored = scored.unwrap();
    (scored.rank, scored.score.unwrap())
}

#[test]
fn matches_sum_to_the_score_of_the_stage() {
    let (_folder, _, notes) = notes();
    let question = "which birds hunt at night";
    let check = |plan: &str| {
        let query = || notes.query().text(question).plan(plan).limit(5);
        for (rank, hit) in query().run().unwrap().into_iter().enumerate() {
            let explanation = query().explain_hit(hit.id.clone()).unwrap();
            let (ranked, score) = maxsim_of(&explanation);
            assert_eq!((ranked, score), (Some(rank + 1), hit.score), "{plan}");
            let alignment = explanation.path.alignment.as_ref().unwrap();
            let sum: f32 = alignment.matches.iter().map(|one| one.score).sum();
            assert!(
                (sum - hit.score).abs() < 1e-4 && sum == alignment.score,
                "{sum}, {}",
                hit.score
            );
            let names = explanation.query_tokens.unwrap();
            assert_eq!(names.len(), alignment.matches.len());
            assert!(names.contains(&"night".to_owned()), "{names:?}");
            assert_eq!(
                explanation.document_tokens.unwrap().len(),
                alignment.document_tokens
            );
        }
    };
    check("maxsim");
    check("dense+maxsim");
    // In residual codes the stage scores what the codes stand for.
    let more =
        (0..400_u64).map(|n| Document::new(n).text(format!("note {n} of the day {} and night", n * 7)));
    notes.upsert_many(more).unwrap();
    notes.optimize(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(notes.stats().unwrap().raw_tokens == 0);
    check("maxsim");
    let owl = notes
        .query()
        .text(question)
        .plan("maxsim")
        .explain_hit("owl")
        .unwrap();
    let names = (owl.query_tokens.unwrap(), owl.document_tokens.unwrap());
    let night = names.0.iter().position(|name| name == "night").unwrap();
    let matched = owl.path.alignment.unwrap().matches[night].document_token;
    assert_eq!(names.1[matched], "night");
}

#[test]
fn what_is_no_hit_is_explained_too() {
    let (_folder, _, notes) = notes();
    let query = || {
        notes
            .query()
            .text("birds hunt at night")
            .plan("dense+maxsim+rerank")
            .limit(1)
    };
    let last = query().limit(5).run().unwrap().pop().unwrap().id;
    let explanation = query().filter("kind != \"log\"").explain_hit("wal").unwrap();
    assert!(!explanation.path.matches_filter);
    assert!(explanation.path.stages.iter().all(|stage| stage.rank.is_none()));
    assert!(
        explanation.path.alignment.is_some(),
        "its tokens are compared all the same"
    );
    let stages = query().limit(5).explain_hit(last).unwrap().path.stages;
    assert_eq!(
        (stages.len(), stages[2].rank, stages[2].candidates),
        (3, Some(5), 5)
    );
    let error = query().explain_hit("gnu").unwrap_err();
    assert!(error.to_string().contains("no document gnu") && error.hint().is_some());
    let words = notes
        .query()
        .text("hunt")
        .plan("bm25")
        .explain_hit("gcc")
        .unwrap();
    assert!(words.path.alignment.is_none() && words.path.stages[0].rank.is_none());
}

#[test]
fn a_hit_is_explained_on_the_command_line_and_as_a_page() {
    let (folder, db, notes) = notes();
    drop(notes);
    let file = folder.path().join("hit.html");
    let html = file.to_str().unwrap();
    let command = [
        "explain-hit",
        &db,
        "notes",
        MARKUP,
        "fox",
        "--plan",
        "maxsim",
        "--html",
        html,
    ];
    let text = latewood(&command).ok().stdout;
    for part in [
        "document fox, plan maxsim\n",
        "  maxsim scan      rank ",
        "MaxSim ",
        "script[",
        "what each token",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours are for terminals: {text}");
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(
        !page.contains("<script") && page.contains("&lt;script&gt;"),
        "{page}"
    );
    let xml = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let xml = Xml::parse(xml).unwrap_or_else(|e| panic!("{e}: {page}"));
    let outside = xml.descendants().flat_map(|node| node.attributes());
    assert!(
        outside
            .into_iter()
            .all(|one| one.name() != "src" && one.name() != "href")
    );
    let json = latewood(&[&command[..], &["--json"]].concat()).ok().json();
    let matches = json["alignment"]["matches"].as_array().unwrap();
    let sum: f64 = matches.iter().map(|one| one["score"].as_f64().unwrap()).sum();
    assert!(
        (sum - json["stages"][0]["score"].as_f64().unwrap()).abs() < 1e-4,
        "{json}"
    );
    let ran = latewood(&["explain-hit", &db, "notes", "owls", "7"]);
    assert!(
        ran.code == Some(1) && ran.stderr.contains("no document 7"),
        "{ran:?}"
    );
}
