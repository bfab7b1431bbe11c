//! Why bytes are not a checkpoint.

/// What is wrong with bytes that should be a checkpoint; found before memory is taken for what they claim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// There is no room for a header.
    #[error("{length} bytes are too few: the file was cut, or is no checkpoint")]
    Short {
        /// How many bytes there are.
        length: u64,
    },
    /// The header claims to be longer than it may.
    #[error("the header claims {claimed} bytes, at most {allowed} are possible: the file is damaged or cut")]
    HeaderLength {
        /// The length that the file claims.
        claimed: u64,
        /// The longest possible.
        allowed: u64,
    },
    /// Another format.
    #[error(
        "this is no checkpoint of tallow: weights alone are read by `Parameters::load` and `tallow_nn::read_tensors`"
    )]
    NotACheckpoint,
    /// A format of another version.
    #[error(
        "the checkpoint has format version {found:?}, this program reads {allowed}: use the release that wrote it, or a newer one"
    )]
    Version {
        /// The version found.
        found: String,
        /// The version that can be read.
        allowed: u32,
    },
    /// A bit of the header is not as it was written.
    #[error("the checksum of the header does not fit: the file is damaged")]
    HeaderChecksum,
    /// The header is not what a checkpoint's header is.
    #[error("the header is malformed: {0}")]
    Header(#[from] serde_json::Error),
    /// An entry of the header that cannot be.
    #[error("the header's entry {name:?} {problem}")]
    Entry {
        /// The name of the tensor or number.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The tensors do not fill the file.
    #[error("the tensors claim {claimed} bytes, the file has {found} for them: it is damaged or cut")]
    Length {
        /// How many bytes the header claims.
        claimed: u64,
        /// How many there are.
        found: u64,
    },
    /// A bit of a tensor is not as it was written.
    #[error("the checksum of the tensor {name:?} does not fit: the file is damaged")]
    TensorChecksum {
        /// The tensor.
        name: String,
    },
    /// A tensor holds a number that no training goes on from.
    #[error("the tensor {name:?} holds a number that is not finite")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// There is no memory for what the file holds.
    #[error("no memory for the {bytes} bytes of {name:?}")]
    Memory {
        /// What should have been read.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// The configuration is not JSON as it is written here.
    #[error("the configuration is malformed: {0}")]
    Configuration(String),
    /// The bytes could not be read.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    /// A tensor could not be made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Unreadable {
    /// Whether the content is at fault, and not the way to it: reading again would not help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
            Self::Memory { .. } | Self::Candle(_) | Self::Version { .. } => false,
            _ => true,
        }
    }
}
