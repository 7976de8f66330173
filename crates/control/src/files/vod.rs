//! FLV files from the middle: what has to go before the bytes that a player asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use container::flv::{Demuxer, FileHeader, Reader, TagKind, write_tag};
use media::{Frame, Kind};

/// Configurations are looked for in so many bytes from the begin. They stand behind the
/// metadata, whose table of key frames is the long part: 16 bytes each, so that this is enough
/// for a day of key frames.
const SEARCHED: u64 = 2 * 1024 * 1024;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// Why there is nothing to put before.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHead {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Flv(#[from] container::flv::ReadError),
    #[error("the file ends before its header")]
    Short,
}

/// The file header and the configurations that stand before `start`, as bytes.
///
/// # Errors
/// The file cannot be read, or is no FLV.
pub(super) async fn head(file: File, start: u64) -> Result<(File, Bytes), NoHead> {
    let read = move || {
        let bytes = search(|at, to| file.read_at(to, at), start)?;
        Ok((file, bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

fn search(read: impl Fn(u64, &mut [u8]) -> io::Result<usize>, start: u64) -> Result<Bytes, NoHead> {
    let mut reader = Reader::new();
    let mut demuxer = Demuxer::new();
    let mut configs: Vec<Frame> = Vec::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    let end = start.min(SEARCHED);
    'file: while at < end {
        let n = read(at, &mut piece)?;
        if n == 0 {
            break;
        }
        at = at.saturating_add(n as u64);
        reader.push(piece.get(..n).unwrap_or_default());
        loop {
            let tag = match reader.pull() {
                Ok(Some(tag)) => tag,
                Ok(None) => break,
                Err(e) if e.is_final() => return Err(e.into()),
                Err(_) => continue,
            };
            if tag.kind == TagKind::Script {
                continue;
            }
            let mut frames: Vec<Frame> = Vec::new();
            // A tag that makes no sense is the player's to skip, as it would be without us.
            let _ = demuxer.push(tag.kind, tag.dts(), tag.body, &mut frames);
            for frame in frames.into_iter().filter(|f| f.is_config() && f.kind() != Kind::Data) {
                let is_known =
                    configs.iter().any(|f| f.kind() == frame.kind() && f.track == frame.track);
                if !is_known {
                    configs.push(frame);
                }
            }
            let has = |kind| configs.iter().any(|f| f.kind() == kind);
            if has(Kind::Video) && has(Kind::Audio) {
                break 'file;
            }
        }
    }
    let header: FileHeader = reader.header().ok_or(NoHead::Short)?;
    let mut out = header.encode().to_vec();
    for frame in &configs {
        write_tag(frame, &mut out);
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::{Codec, Flags, Timestamp};

    fn frame(codec: Codec, tag: u32, config: bool, ms: i64, payload: &'static [u8]) -> Frame {
        let at = Timestamp::from_millis(ms);
        Frame {
            codec,
            track: 0,
            flags: if config { Flags::CONFIG } else { Flags::KEY },
            tag,
            dts: at,
            pts: at,
            payload: Bytes::from_static(payload),
        }
    }

    fn from(bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> io::Result<usize> + '_ {
        move |at, to| {
            let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap_or(&[]);
            let n = rest.len().min(to.len());
            to[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
    }

    #[test]
    fn header_and_configurations_go_before_the_middle() {
        let avc = frame(Codec::H264, 7, true, 0, &[1, 77, 0, 40, 0xff, 0xe0, 0]);
        let aac = frame(Codec::Aac, 0xaf, true, 0, &[0x12, 0x10]);
        let mut head = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
        write_tag(&avc, &mut head);
        let mut file = head.clone();
        write_tag(&frame(Codec::H264, 7, false, 0, &[0, 0, 0, 1, 0x65]), &mut file);
        write_tag(&aac, &mut file);
        write_tag(&aac, &mut head);
        let start = file.len() as u64;
        write_tag(&frame(Codec::H264, 7, false, 40, &[0, 0, 0, 1, 0x65]), &mut file);
        assert_eq!(search(from(&file), start).unwrap(), head);
    }

    #[test]
    fn a_file_that_is_no_flv_has_no_head() {
        assert!(matches!(search(from(b"ftypisom....."), 5), Err(NoHead::Flv(_))));
        assert!(matches!(search(from(b"FLV"), 3), Err(NoHead::Short)));
    }
}
