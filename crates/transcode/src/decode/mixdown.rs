//! Any number of channels to two.

use syom::Channel;

use super::Sound;

/// What a channel that stands between two loudspeakers, or behind, gives to each: -3 dB.
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Appends `planes`, whose places `labels` tell, mixed to two channels.
///
/// Front left and right pass; centre and surrounds go in at -3 dB; low frequency effects are left
/// out (as ITU-R BS.775 has it). All is made softer by as much as it takes not to clip.
pub(super) fn mix(planes: &[&[f32]], labels: &[Option<Channel>], sound: &mut Sound) {
    match planes {
        [] => {}
        [only] => {
            sound.left.extend_from_slice(only);
            sound.right.extend_from_slice(only);
        }
        [left, right] => {
            sound.left.extend_from_slice(left);
            sound.right.extend_from_slice(right);
        }
        [first, ..] => {
            let start = sound.left.len();
            let end = start.saturating_add(first.len());
            sound.left.resize(end, 0.0);
            sound.right.resize(end, 0.0);
            let gains = |at: usize| gains(labels.get(at).copied().flatten(), at);
            let (sum_left, sum_right) = (0..planes.len())
                .map(gains)
                .fold((0.0f32, 0.0f32), |sum, gain| (sum.0 + gain.0, sum.1 + gain.1));
            let scale = 1.0 / sum_left.max(sum_right).max(1.0);
            for (at, plane) in planes.iter().enumerate() {
                let (to_left, to_right) = gains(at);
                add(sound.left.get_mut(start..), plane, to_left * scale);
                add(sound.right.get_mut(start..), plane, to_right * scale);
            }
        }
    }
}

fn add(into: Option<&mut [f32]>, plane: &[f32], gain: f32) {
    for (sum, sample) in into.unwrap_or_default().iter_mut().zip(plane) {
        *sum += sample * gain;
    }
}

/// What a channel gives to left and right.
fn gains(channel: Option<Channel>, at: usize) -> (f32, f32) {
    match channel {
        Some(Channel::FrontLeft) => (1.0, 0.0),
        Some(Channel::FrontRight) => (0.0, 1.0),
        Some(Channel::FrontCenter) => (HALF_POWER, HALF_POWER),
        Some(Channel::BackCenter) => (0.5, 0.5),
        Some(Channel::BackLeft | Channel::SideLeft) => (HALF_POWER, 0.0),
        Some(Channel::BackRight | Channel::SideRight) => (0.0, HALF_POWER),
        Some(Channel::Lfe) => (0.0, 0.0),
        // A channel without a name: pairs, as they are coded.
        _ if at.is_multiple_of(2) => (HALF_POWER, 0.0),
        _ => (0.0, HALF_POWER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_channels_become_two_that_do_not_clip() {
        let one = [1.0f32; 4];
        let silent = [0.0f32; 4];
        let labels = [
            Channel::FrontLeft,
            Channel::FrontRight,
            Channel::FrontCenter,
            Channel::Lfe,
            Channel::BackLeft,
            Channel::BackRight,
        ]
        .map(Some);
        let mut sound = Sound::default();
        mix(&[&one, &one, &one, &one, &one, &one], &labels, &mut sound);
        assert!(sound.left.iter().chain(&sound.right).all(|s| (s - 1.0).abs() < 1e-6));
        let mut sound = Sound::default();
        mix(&[&silent, &silent, &silent, &one, &silent, &silent], &labels, &mut sound);
        assert!(sound.left.iter().all(|s| *s == 0.0), "low frequency effects are left out");
        let mut sound = Sound::default();
        mix(&[&one, &silent, &silent, &silent, &silent, &silent], &labels, &mut sound);
        assert!(sound.left.iter().all(|s| *s > 0.4) && sound.right.iter().all(|s| *s == 0.0));
    }
}
