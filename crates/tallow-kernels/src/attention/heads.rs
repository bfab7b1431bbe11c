//! Where the tokens of many heads are.

use crate::attention::product::Rows;
use crate::error::{Result, area, check_length};

/// How far apart heads lie: token n of head h of image b starts at `b * batch + h * head + n * token`; its values follow
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadStrides {
    /// From an image to the next.
    pub batch: usize,
    /// From a head to the next.
    pub head: usize,
    /// From a token to the next.
    pub token: usize,
}

impl HeadStrides {
    /// (B, tokens, H, D), what a linear layer writes.
    #[must_use]
    pub fn tokens_first(tokens: usize, heads: usize, width: usize) -> Self {
        let (head, token) = (width, heads * width);
        Self {
            batch: tokens * token,
            head,
            token,
        }
    }

    /// (B, H, tokens, D).
    #[must_use]
    pub fn heads_first(tokens: usize, heads: usize, width: usize) -> Self {
        let (head, token) = (tokens * width, width);
        Self {
            batch: heads * head,
            head,
            token,
        }
    }

    /// Queries, keys or values in (B, tokens, 3, H, D), what one linear layer for all three writes; those of the keys
    /// start H · D values later, those of the values 2 · H · D.
    #[must_use]
    pub fn fused(tokens: usize, heads: usize, width: usize) -> Self {
        let token = 3 * heads * width;
        Self {
            batch: tokens * token,
            head: width,
            token,
        }
    }
}

/// Tokens of many heads in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T> {
    /// From the first token on.
    pub values: &'a [T],
    /// Where the others are.
    pub strides: HeadStrides,
}

impl<'a, T> Heads<'a, T> {
    /// From token `index` of a head on.
    #[inline(always)]
    pub(crate) fn token(&self, (batch, head): (usize, usize), index: usize) -> &'a [T] {
        let HeadStrides {
            batch: by_batch,
            head: by_head,
            token,
        } = self.strides;
        &self.values[batch * by_batch + head * by_head + index * token..]
    }

    /// The tokens of one head.
    #[inline(always)]
    pub(crate) fn rows(&self, head: (usize, usize), count: usize, width: usize) -> Rows<'a, T> {
        let values = if count == 0 { &[] } else { self.token(head, 0) };
        Rows {
            values,
            step: self.strides.token,
            count,
            width,
        }
    }

    /// Refuses a slice that ends before its last token.
    pub(crate) fn check(&self, name: &'static str, counts: [usize; 3], width: usize) -> Result<()> {
        if counts.contains(&0) {
            return Ok(());
        }
        let HeadStrides { batch, head, token } = self.strides;
        let mut wanted = width;
        for (count, stride) in counts.into_iter().zip([batch, head, token]) {
            wanted = wanted.saturating_add(area(count - 1, stride)?);
        }
        check_length(name, self.values.len().min(wanted), wanted)
    }
}
