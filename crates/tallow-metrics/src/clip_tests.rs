use std::path::PathBuf;

use safetensors::SafeTensors;

use super::*;

/// What `scripts/fixtures/clip.py` made.
const OUTPUTS: &[u8] = include_bytes!("../tests/data/clip/outputs.safetensors");

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/clip")
        .join(name)
}

fn configuration() -> ClipConfiguration {
    ClipConfiguration::read(file("config.json")).unwrap()
}

fn clip() -> Clip {
    Clip::read(
        file("model.safetensors"),
        file("tokenizer.json"),
        &configuration(),
        &Device::Cpu,
    )
    .unwrap()
}

fn outputs() -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(OUTPUTS, &Device::Cpu).unwrap()
}

fn metadata(name: &str) -> String {
    let (_, header) = SafeTensors::read_metadata(OUTPUTS).unwrap();
    header.metadata().as_ref().unwrap()[name].clone()
}

fn captions() -> Vec<String> {
    serde_json::from_str(&metadata("captions")).unwrap()
}

/// The largest difference.
fn off(a: &Tensor, b: &Tensor) -> f32 {
    let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).fold(0_f32, |off, (a, b)| off.max((a - b).abs()))
}

#[test]
fn features_are_those_of_transformers_and_of_each_image_and_caption_alone() {
    let (clip, outputs) = (clip(), outputs());
    let images = clip.features(&outputs["images"], ImageRange::ZeroTo255).unwrap();
    let found = off(&images, &outputs["image_features"]);
    assert!(found < 1e-5, "images: {found}");
    let captions = captions();
    let captions: Vec<&str> = captions.iter().map(String::as_str).collect();
    let texts = clip.text_features(&captions).unwrap();
    let found = off(&texts, &outputs["text_features"]);
    assert!(found < 1e-5, "captions: {found}");
    let alone = clip
        .features(&outputs["images"].narrow(0, 1, 1).unwrap(), ImageRange::ZeroTo255)
        .unwrap();
    assert_eq!(off(&alone, &images.narrow(0, 1, 1).unwrap()), 0.0);
}

#[test]
fn tokens_are_those_of_the_library_for_python_and_long_captions_are_cut() {
    let expected: Vec<Vec<u32>> = serde_json::from_str(&metadata("tokens")).unwrap();
    let clip = clip();
    for (caption, expected) in captions().iter().zip(expected) {
        assert_eq!(
            clip.tokenizer.encode(caption.as_str(), true).unwrap().get_ids(),
            expected
        );
    }
}

#[test]
fn images_are_prepared_as_by_the_processor_up_to_the_rounding_of_pillow() {
    let (clip, outputs) = (clip(), outputs());
    let prepared = clip
        .prepare(&ImageRange::ZeroTo255.to_unit(&outputs["images"]).unwrap())
        .unwrap();
    let found = off(&prepared, &outputs["processed"]);
    // Pillow rounds twice, across and down: 1/255, over the least deviation.
    assert!(found < 1.0 / 255.0 / 0.2613, "{found}");
}

#[test]
fn the_score_is_that_of_the_cosines_and_records_its_protocol() {
    let (clip, outputs) = (clip(), outputs());
    let captions = captions();
    let captions = [captions[0].as_str(), captions[1].as_str()];
    let found = clip
        .score(&outputs["images"], &captions, ImageRange::ZeroTo255)
        .unwrap();
    let rows = |name: &str| outputs[name].to_vec2::<f32>().unwrap();
    let (images, texts) = (rows("image_features"), rows("text_features"));
    let mut exact = 0.0;
    for (row, (a, b)) in images.iter().zip(&texts).enumerate() {
        let dot = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum::<f64>()
        };
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!((found.value.cosines[row] - cosine).abs() < 1e-5);
        exact += 50.0 * cosine.max(0.0);
    }
    assert!((found.value.score - exact).abs() < 1e-3, "{found}");
    let words = found.to_string();
    for part in [
        "CLIP score",
        "image 12, patches 4",
        "bicubic",
        "n = 2 in [0, 255]",
    ] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(found.protocol.file_sha256.len(), 64);
    let few = clip.score(&outputs["images"], &captions[..1], ImageRange::ZeroTo255);
    assert!(matches!(few, Err(Error::Captions { .. })));
    assert!(matches!(clip.text_features(&[]), Err(Error::Empty)));
    assert!(matches!(
        clip.score(&outputs["images"], &captions, ImageRange::ZeroToOne),
        Err(Error::Images { .. })
    ));
}

#[test]
fn files_that_are_missing_or_do_not_fit_say_where_the_right_ones_are() {
    let read = |weights: &str, tokenizer: &str, configuration: &ClipConfiguration| {
        let error = Clip::read(file(weights), file(tokenizer), configuration, &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::Weights { .. }), "{error:?}");
        error.to_string()
    };
    let (weights, tokenizer) = ("model.safetensors", "tokenizer.json");
    for (words, found) in [
        (
            "none.safetensors",
            read("none.safetensors", tokenizer, &configuration()),
        ),
        ("none.json", read(weights, "none.json", &configuration())),
        ("no tokenizer", read(weights, "config.json", &configuration())),
        (
            "class_embedding",
            read(weights, tokenizer, &ClipConfiguration::vit_b32()),
        ),
        (
            "no tensor",
            read("outputs.safetensors", tokenizer, &configuration()),
        ),
    ] {
        assert!(
            found.contains(words) && found.contains("huggingface.co"),
            "{found}"
        );
    }
}
