//! What the U-Net refuses.

use tallow_denoisers::LABELS;

use super::*;

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let config = kinds().swap_remove(2);
    let (_, network) = build(&config, DType::F32);
    let refused = |x: &Tensor, condition: &Condition| {
        let times = times(x.dims()[0]);
        let call = Call::new(x, &times, condition).unwrap();
        network.forward(&call).unwrap_err().to_string()
    };
    let labels = |labels: &[u32]| Condition::labels(Tensor::new(labels, &Device::Cpu).unwrap());
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let fine = zeros(&[2, 2, 4, 4]);
    let message = refused(&zeros(&[2, 2, 4, 7]), &labels(&[0, 1]));
    assert!(
        message.contains("multiples of 2") && message.contains("4 × 7"),
        "{message}"
    );
    let message = refused(&zeros(&[2, 3, 4, 4]), &labels(&[0, 1]));
    assert!(message.contains("(batch, 2, height, width)"), "{message}");
    let message = refused(&zeros(&[2, 2, 4]), &labels(&[0, 1]));
    assert!(message.contains("[2, 2, 4]"), "{message}");
    let message = refused(&zeros(&[2, 2, 0, 4]), &labels(&[0, 1]));
    assert!(message.contains("0 × 4"), "{message}");
    let message = refused(&fine, &labels(&[0, 3]));
    assert!(message.contains("label 3 of row 1"), "{message}");
    assert!(refused(&fine, &Condition::none()).contains(LABELS));
    let two = Condition::labels(Tensor::zeros((2, 1), DType::U32, &Device::Cpu).unwrap());
    assert!(refused(&fine, &two).contains("[2, 1]"));
    let message = refused(&fine.to_dtype(DType::F64).unwrap(), &labels(&[0, 1]));
    assert!(message.contains("F64") && message.contains("F32"), "{message}");
}

#[test]
fn an_empty_batch_is_answered_by_an_empty_batch() {
    let config = tiny();
    let (_, network) = build(&config, DType::F32);
    let none = Tensor::zeros((0, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(answer(&network, &config, &none).dims(), [0, 2, 4, 4]);
}

#[test]
fn a_noise_level_of_zero_has_no_logarithm() {
    let config = kinds().swap_remove(3);
    let (_, network) = build(&config, DType::F32);
    let x = x(&config, 2, 4, DType::F32);
    let condition = condition(&config, 2);
    let call = Call::new(&x, &[1.0, 0.0], &condition).unwrap();
    let message = network.forward(&call).unwrap_err().to_string();
    assert!(message.contains("above 0"), "{message}");
}

type Change = fn(&mut UNetConfig);

#[test]
fn configurations_that_cannot_be_are_refused() {
    let changes: [(Change, &str); 12] = [
        (|config| config.levels.clear(), "levels"),
        (|config| config.blocks = 0, "blocks"),
        (|config| config.inputs = 0, "inputs"),
        (|config| config.groups = 0, "groups"),
        (|config| config.groups = 4, "multiple of the groups"),
        (|config| config.size = Some([4, 5]), "4 × 5"),
        (|config| config.dropout = 1.0, "below 1"),
        (|config| config.epsilon = 0.0, "epsilon of a norm"),
        (|config| config.head_width = Some(4), "head_width"),
        (
            |config| config.classes = UNetClasses::Table { count: 0 },
            "classes",
        ),
        (|config| config.embedding = Some(0), "embedding"),
        (
            |config| config.middle.as_mut().unwrap().scale = 0.0,
            "middle.scale",
        ),
    ];
    for (change, word) in changes {
        let mut config = kinds().swap_remove(1);
        change(&mut config);
        let plan = Plan::new(DType::F32, usize::MAX);
        let message = UNet::new(&plan.scope(), config).unwrap_err().to_string();
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn diffusers_configurations_that_have_no_equivalent_are_refused_by_key_and_value() {
    let refused = |value: serde_json::Value| UNetConfig::from_diffusers(&value).unwrap_err().to_string();
    let cases = [
        (serde_json::json!({"act_fn": "mish"}), "`act_fn` = \"mish\""),
        (
            serde_json::json!({"time_embedding_type": "learned"}),
            "\"positional\" or \"fourier\"",
        ),
        (
            serde_json::json!({"resnet_time_scale_shift": "spatial"}),
            "\"scale_shift\"",
        ),
        (
            serde_json::json!({"down_block_types": ["SkipDownBlock2D"]}),
            "AttnDownBlock2D",
        ),
        (serde_json::json!({"downsample_padding": 2}), "0 or 1"),
        (serde_json::json!({"downsample_type": "fir"}), "\"resnet\""),
        (
            serde_json::json!({"class_embed_type": "projection"}),
            "\"identity\"",
        ),
        (
            serde_json::json!({"block_out_channels": [32, 64]}),
            "one for each of the 2",
        ),
        (
            serde_json::json!({"cross_attention_dim": 768}),
            "cross_attention_dim",
        ),
    ];
    for (value, word) in cases {
        let message = refused(value);
        assert!(message.contains(word), "{word}: {message}");
    }
    let mut mixed = UNetConfig::new(3, &[32, 32, 32]);
    mixed.attend(0);
    mixed.attend(1);
    mixed.levels[0].down.resampling = UNetResampling::ResidualBlock;
    let message = mixed.to_diffusers().unwrap_err().to_string();
    assert!(message.contains("resample in different ways"), "{message}");
}
