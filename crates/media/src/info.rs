//! What a track is, told in the words of the API.

/// Frames a second, if the numbers make a believable rate: above zero and at most 1000, which
/// is more than any camera that streams.
pub(crate) fn frame_rate(scale: f64, units: f64) -> Option<f64> {
    let rate = scale / units;
    (rate.is_finite() && rate > 0.0 && rate <= 1000.0).then_some(rate)
}
