//! Wrong configurations and arguments end with status 2 and words that help.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[allow(dead_code, reason = "each test file uses a part")]
mod command;

use command::{configuration, refused, well};

/// A line of a right configuration, what stands in its place, and what the message must say.
const WRONG: &[(&str, &str, &[&str])] = &[
    (
        "steps = 4",
        "stesp = 4",
        &["run.toml:1: unknown key `stesp`", "did you mean \"steps\"?"],
    ),
    ("steps = 4", "steps = = 4", &["run.toml:1: this is no TOML"]),
    (
        "steps = 4\n",
        "",
        &["`steps` is missing", "a whole number from 1"],
    ),
    (
        "steps = 4",
        "steps = 0",
        &["run.toml:1: `steps` is 0", "from 1 to"],
    ),
    (
        "batch = 64",
        "batch = \"many\"",
        &["run.toml:2: `batch` is \"many\"", "a whole number"],
    ),
    (
        "batch = 64",
        "batch = 64\nbatch = 32",
        &["run.toml:3: this is no TOML: duplicate key"],
    ),
    (
        "batch = 64",
        "batch = 5000",
        &["run.toml:2: `batch` is 5000", "1617 images"],
    ),
    (
        "\"digits\"",
        "\"digit\"",
        &[
            "`name` of [data] is \"digit\"",
            "did you mean \"digits\"?",
            "cifar10",
        ],
    ),
    ("\"digits\"", "\"mnist\"", &["`path` of [data]", "is missing"]),
    (
        "\"digits\"",
        "\"mnist\"\npath = \"nowhere\"",
        &["run.toml:9: `path` of [data]", "nowhere"],
    ),
    (
        "\"digits\"",
        "\"checkerboard\"",
        &["run.toml:15: `label_dropout`", "no labels to drop"],
    ),
    (
        "width = 64",
        "widht = 64",
        &[
            "run.toml:11: unknown key `widht` of [model]",
            "did you mean \"width\"?",
        ],
    ),
    (
        "width = 64",
        "channels = [8]",
        &[
            "unknown key `channels` of [model]",
            "allowed are name, width, depth, waves",
        ],
    ),
    (
        "\"mlp\"\nwidth = 64\ndepth = 2",
        "\"unet\"\nchannels = [12, 16]",
        &["`channels` of [model]", "12 channels", "`groups` = 8"],
    ),
    (
        "\"mlp\"\nwidth = 64\ndepth = 2",
        "\"unet\"\nchannels = [8, 8, 8, 8, 8]",
        &[
            "run.toml:11: `channels` of [model] has 5 levels",
            "8 pixels",
            "fewer",
        ],
    ),
    (
        "\"mlp\"\nwidth = 64\ndepth = 2",
        "\"dit\"\npatch = 3",
        &["run.toml:11: `patch` of [model] is 3", "a divisor of 8"],
    ),
    (
        "name = \"flow\"",
        "name = \"flwo\"",
        &["`name` of [objective] is \"flwo\"", "did you mean \"flow\"?"],
    ),
    (
        "name = \"flow\"",
        "name = \"noise\"\nschedule = \"zero_terminal_snr\"",
        &["`name` of [objective]", "noise"],
    ),
    (
        "name = \"flow\"",
        "name = \"flow\"\ntimes = \"table_steps\"",
        &["`times` of [objective]", "no table"],
    ),
    (
        "label_dropout = 0.1",
        "label_dropout = 1.5",
        &["`label_dropout` of [objective] is 1.5", "from 0 to 1"],
    ),
    (
        "name = \"flow\"",
        "name = \"edm\"\nschedule = \"zero_terminal_snr\"",
        &["`name` of [objective]", "infinite at its end"],
    ),
    (
        "name = \"flow\"",
        "name = \"noise\"\nschedule = \"zero_terminal_snr\"\ntimes = \"uniform\"",
        &["`name` of [objective]"],
    ),
    (
        "name = \"flow\"",
        "name = \"epsilon\"",
        &["did you mean \"noise\"?"],
    ),
    (
        "width = 64\ndepth = 2",
        "width = 65536\ndepth = 256",
        &["[model] has", "parameters, allowed are 4000000000"],
    ),
    (
        "batch = 64\nseed = 3\noutput = \"run\"\ncheckpoint_every = 100\nvalidate_every = 50\n",
        "batch = 10000\noutput = \"run\"\n[coupling]\nname = \"optimal_transport\"\n",
        &["run.toml:2: `batch`: 10000", "`coupling`", "8192"],
    ),
    (
        "output = \"run\"",
        "output = \"run.toml\"",
        &["run.toml:4: `output`"],
    ),
    ("clip = 1.0", "clip = nan", &["`clip` of [optimizer] is nan"]),
    (
        "[optimizer]",
        "[optimiser]",
        &["unknown key `optimiser`", "did you mean \"optimizer\"?"],
    ),
    (
        "[optimizer]",
        "[optimizer]\nname = \"adan\"",
        &["\"adan\"", "adamw, adam, radam, sgd"],
    ),
];

#[test]
fn wrong_configurations_end_with_status_2_and_name_line_key_and_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong, said) in WRONG {
        let text = configuration(4);
        assert!(text.contains(right), "{right}");
        std::fs::write(folder.path().join("run.toml"), text.replacen(right, wrong, 1)).unwrap();
        let error = refused(folder.path(), &["train", "run.toml"]);
        for words in *said {
            assert!(error.contains(words), "{wrong}: no {words:?} in\n{error}");
        }
        assert!(
            !folder.path().join("run").exists(),
            "{wrong}: something was written"
        );
    }
}

#[test]
fn the_configuration_that_they_are_made_from_is_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), configuration(4)).unwrap();
    well(folder.path(), &["train", "run.toml"]);
}

#[test]
fn a_warm_up_that_is_never_over_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(4) + "[learning_rate]\nwarm_up = 4\n";
    std::fs::write(folder.path().join("run.toml"), text).unwrap();
    let done = command::output(folder.path(), &["train", "run.toml"]);
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(
        told.contains("warning: `warm_up` of [learning_rate] is 4"),
        "{told}"
    );
}

#[test]
fn wrong_arguments_end_with_status_2_and_name_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), configuration(4)).unwrap();
    well(folder.path(), &["train", "run.toml"]);
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["train", "nowhere.toml"],
            &["no configuration nowhere.toml", "tallow init"],
        ),
        (&["train", "run.toml"], &["has made 4 steps", "--resume"]),
        (&["init", "run.toml"], &["there already", "--force"]),
        (&["init", "--data", "minst"], &["did you mean \"mnist\"?"]),
        (
            &["init", "--data", "moons", "--model", "unet"],
            &["network of images"],
        ),
        (&["sample", "nowhere", "-o", "a.png"], &["there is no nowhere"]),
        (
            &["sample", ".", "-o", "a.png"],
            &["neither checkpoints", "diffusers"],
        ),
        (&["sample", "run", "-o", "a.jpg"], &[".png, .gif, .npy"]),
        (
            &["sample", "run", "-o", "a.png", "--solver", "dpmpp2m"],
            &["dpmpp_2m"],
        ),
        (&["sample", "run", "-o", "a.png", "--steps", "0"], &["--steps 0"]),
        (
            &["sample", "run", "-o", "a.png", "--class", "12"],
            &["--class 12", "from 0 to 9"],
        ),
        (
            &[
                "sample",
                "run",
                "-o",
                "a.png",
                "--solver",
                "adaptive_dopri5",
                "--steps",
                "9",
            ],
            &["tolerance"],
        ),
        (&["sample", "run", "-n", "0", "-o", "a.png"], &["0 is not in 1.."]),
        (
            &["evaluate", "run", "--data", "elsewhere"],
            &["--data elsewhere", "leave --data away"],
        ),
        (
            &["evaluate", "run", "--solver", "heun"],
            &["--solver", "leave it away"],
        ),
        (&["evaluate", "run", "-n", "500"], &["--count 500", "180 images"]),
        (
            &["evaluate", "run", "--inception", "nowhere.safetensors"],
            &["nowhere.safetensors", "convert_inception.py"],
        ),
        (&["solvers", "eular"], &["euler"]),
        (&["schedules", "cosine"], &["vp_cosine"]),
        (&["schedules", "--plot", "a.csv"], &[".png or .svg"]),
        (&["smaple"], &["sample"]),
    ];
    for (arguments, said) in cases {
        let error = refused(folder.path(), arguments);
        for words in *said {
            assert!(error.contains(words), "{arguments:?}: no {words:?} in\n{error}");
        }
    }
}

#[test]
fn what_is_told_of_schedules_solvers_shells_and_pages_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let solvers = well(folder.path(), &["solvers", "--json"]);
    assert_eq!(solvers.lines().count(), tallow::solvers::catalogue::SOLVERS.len());
    let first: serde_json::Value = serde_json::from_str(solvers.lines().next().unwrap()).unwrap();
    assert_eq!(first["name"], "euler");
    assert_eq!(first["deterministic"], true);
    assert!(well(folder.path(), &["schedules", "--plot", "paths.svg"]).contains("vp_cosine(s = 0.008)"));
    assert!(folder.path().join("paths.svg").is_file());
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(
            well(folder.path(), &["completions", shell]).contains("evaluate"),
            "{shell}"
        );
    }
    assert!(well(folder.path(), &["man"]).contains(".TH tallow 1"));
    well(folder.path(), &["man", "--out", "pages"]);
    for page in ["tallow.1", "tallow-train.1", "tallow-sample.1"] {
        assert!(folder.path().join("pages").join(page).is_file(), "{page}");
    }
}
