use super::*;
use crate::linear::Linear;

fn two_layers(seed: u64) -> Parameters {
    let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
    for layer in 0..2 {
        Linear::new(&parameters.scope().at("net").at(layer), 3, 3).unwrap();
    }
    parameters
}

fn values(parameters: &Parameters) -> Vec<f32> {
    let tensors = parameters.named();
    tensors
        .iter()
        .flat_map(|(_, v)| v.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        .collect()
}

#[test]
fn a_layer_starts_the_same_whatever_else_the_model_has() {
    let alone = Parameters::new(5, DType::F32, &Device::Cpu);
    Linear::new(&alone.scope().at("net.1"), 3, 3).unwrap();
    let all = two_layers(5).snapshot().unwrap();
    for (name, tensor) in alone.snapshot().unwrap() {
        let other = all[&name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            other,
            "{name}"
        );
    }
}

#[test]
fn a_taken_or_empty_name_is_refused() {
    let parameters = two_layers(1);
    let taken = parameters
        .scope()
        .at("net")
        .at(0)
        .parameter("weight", 3, Init::ZEROS);
    assert!(matches!(taken, Err(Error::Duplicate { name }) if name == "net.0.weight"));
    assert!(matches!(
        parameters.scope().parameter("", 3, Init::ZEROS),
        Err(Error::Name { .. })
    ));
    assert_eq!(parameters.names().len(), 4);
}

#[test]
fn a_view_refuses_unknown_names_and_other_shapes() {
    let view = two_layers(1).detached();
    let error = Linear::new(&view.scope().at("net.2"), 3, 3).unwrap_err();
    assert!(error.to_string().contains("net.1.weight"), "{error}");
    assert!(matches!(
        Linear::new(&view.scope().at("net.0"), 3, 4),
        Err(Error::ParameterShape { .. })
    ));
}

#[test]
fn a_view_follows_the_parameters_and_a_snapshot_does_not() {
    let parameters = two_layers(1);
    let (view, snapshot) = (parameters.detached(), parameters.snapshot().unwrap());
    let weight = parameters.variable("net.0.weight").unwrap();
    weight.set(&weight.zeros_like().unwrap()).unwrap();
    let sum = |tensor: &Tensor| {
        tensor
            .abs()
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
    };
    assert_eq!(sum(&view.tensors()["net.0.weight"]), 0.0);
    assert!(sum(&snapshot["net.0.weight"]) > 0.0);
    assert!(!view.tensors()["net.0.weight"].track_op());
}

#[test]
fn a_cast_view_computes_in_its_type_and_its_gradients_reach_the_parameters() {
    let parameters = two_layers(1);
    let view = parameters.cast(DType::F16).unwrap();
    let linear = Linear::new(&view.scope().at("net.0"), 3, 3).unwrap();
    let x = Tensor::ones((2, 3), DType::F16, &Device::Cpu).unwrap();
    let y = linear.forward(&x).unwrap();
    assert_eq!(y.dtype(), DType::F16);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let weight = parameters.variable("net.0.weight").unwrap();
    let gradient = gradients.get(&weight).unwrap();
    // Two rows of ones.
    assert_eq!(gradient.to_vec2::<f32>().unwrap(), vec![vec![2.0; 3]; 3]);
}

#[test]
fn a_file_brings_back_every_bit_and_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let saved = two_layers(1);
    saved.save(&path, r#"{"step": 3}"#).unwrap();
    let other = two_layers(2);
    assert_ne!(values(&other), values(&saved));
    assert_eq!(other.load(&path).unwrap(), r#"{"step": 3}"#);
    assert_eq!(values(&other), values(&saved));
    let again = folder.path().join("again.safetensors");
    other.save(&again, r#"{"step": 3}"#).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left aside"
    );
}

#[test]
fn a_file_that_does_not_fit_changes_nothing_and_every_difference_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let saved = Parameters::new(1, DType::F64, &Device::Cpu);
    Linear::new(&saved.scope().at("net.0"), 3, 4).unwrap();
    Linear::new(&saved.scope().at("extra"), 1, 1).unwrap();
    saved.save(&path, "").unwrap();
    let parameters = two_layers(2);
    let before = values(&parameters);
    let Error::Differences { differences, .. } = parameters.load(&path).unwrap_err() else {
        panic!()
    };
    // Two shapes, two missing, two unexpected.
    assert_eq!(differences.len(), 6, "{differences:?}");
    assert_eq!(values(&parameters), before);
}

#[test]
fn a_file_of_another_type_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let saved = Parameters::new(1, DType::F64, &Device::Cpu);
    let loaded = Parameters::new(2, DType::F32, &Device::Cpu);
    for parameters in [&saved, &loaded] {
        Linear::new(&parameters.scope().at("net.0"), 3, 4).unwrap();
    }
    saved.save(&path, "").unwrap();
    loaded.load(&path).unwrap();
    let exact = saved
        .variable("net.0.weight")
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap();
    let read = loaded.variable("net.0.weight").unwrap();
    assert_eq!(read.to_vec2::<f32>().unwrap(), exact.to_vec2::<f32>().unwrap());
}
