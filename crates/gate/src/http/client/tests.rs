//! Answers and addresses, whole and in pieces.

use proptest::prelude::*;

use super::*;

/// The answers in `input` when it comes in pieces of `cut` bytes: status and body of each.
fn read(input: &[u8], cut: usize, answers: usize) -> Result<Vec<(u16, Vec<u8>)>, AnswerError> {
    let mut decoder = Decoder::new();
    let mut list: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut asked = 1;
    decoder.expect();
    for piece in input.chunks(cut) {
        let mut rest = piece;
        loop {
            let (taken, part) = decoder.decode(rest)?;
            rest = &rest[taken..];
            match part {
                None => break,
                Some(Part::Head(head)) => list.push((head.status.as_u16(), Vec::new())),
                Some(Part::Body(bytes)) => list.last_mut().unwrap().1.extend_from_slice(bytes),
                Some(Part::End) if asked < answers => {
                    asked += 1;
                    decoder.expect();
                }
                Some(Part::End) => {}
            }
        }
        assert!(rest.is_empty());
    }
    decoder.end()?;
    Ok(list)
}

const TWO: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\
    helloHTTP/1.1 404 Not Found\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;a=b\r\nwiki\r\n5\r\npedia\r\n\
    0\r\nX-Sum: 1\r\n\r\n";

proptest! {
    #[test]
    fn answers_are_the_same_however_they_are_cut(cut in 1usize..200) {
        let wanted = vec![(200, b"hello".to_vec()), (404, b"wikipedia".to_vec())];
        prop_assert_eq!(read(TWO, cut, 2), Ok(wanted));
    }

    #[test]
    fn chunks_of_any_sizes_come_out_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..8),
        cut in 1usize..90,
    ) {
        let mut input = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            input.extend(format!("{:X}\r\n", chunk.len()).bytes());
            input.extend(chunk);
            input.extend(b"\r\n");
        }
        input.extend(b"0\r\n\r\n");
        prop_assert_eq!(read(&input, cut, 1), Ok(vec![(200, chunks.concat())]));
    }

    #[test]
    fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..9) {
        let _ = read(&input, cut, 1);
    }

    #[test]
    fn a_reference_leads_to_an_address_that_reads_back(
        reference in "[a-z0-9./?=:#-]{0,30}", base in "[a-z/]{0,12}",
    ) {
        let base = Address::parse(&format!("http://h:8080/{base}")).unwrap();
        if let Ok(address) = base.join(&reference) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let input = b"HTTP/1.1 200 OK\r\n\r\nall of it";
    assert_eq!(read(input, 7, 1), Ok(vec![(200, b"all of it".to_vec())]));
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall";
    assert_eq!(read(cut, 99, 1), Err(AnswerError::Cut));
}

#[test]
fn what_is_no_answer_is_told() {
    let with = |fields: &str, body: &str| {
        read(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").as_bytes(), 64, 1)
    };
    assert!(matches!(read(b"SSH-2.0-x\r\n\r\n", 64, 1), Err(AnswerError::Head(_))));
    assert_eq!(with("Content-Length: +5", "hello"), Err(AnswerError::Length));
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 6", ""), Err(AnswerError::Length));
    assert_eq!(with("Transfer-Encoding: chunked", "x\r\n"), Err(AnswerError::Chunk));
    assert_eq!(with("Transfer-Encoding: chunked", "1\r\nabc"), Err(AnswerError::Chunk));
    assert_eq!(with("Content-Length: 1", "ab"), Err(AnswerError::Unasked));
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
    assert_eq!(read(&interim, 64, 1), Err(AnswerError::Interim));
    let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; MAX_HEAD]].concat();
    assert_eq!(read(&long, 1000, 1), Err(AnswerError::HeadTooLong));
}

#[test]
fn a_connection_is_kept_where_both_sides_can_tell_the_end() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0", true),
        ("HTTP/1.1 204 No Content", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive", true),
        ("HTTP/1.1 200 OK", false),
    ] {
        let mut decoder = Decoder::new();
        decoder.expect();
        let head = format!("{head}\r\n\r\n");
        let (_, part) = decoder.decode(head.as_bytes()).unwrap();
        let Some(Part::Head(answer)) = part else { panic!("no head: {head}") };
        assert_eq!(answer.keep_alive, kept, "{head}");
    }
}

#[test]
fn references_are_understood_as_the_specification_says() {
    let base = Address::parse("http://a:81/b/c/d?q").unwrap();
    for (reference, wanted) in [
        ("g", "http://a:81/b/c/g"),
        ("./g", "http://a:81/b/c/g"),
        ("g/", "http://a:81/b/c/g/"),
        ("/g", "http://a:81/g"),
        ("//g", "http://g/"),
        ("?y", "http://a:81/b/c/d?y"),
        ("g?y", "http://a:81/b/c/g?y"),
        ("", "http://a:81/b/c/d?q"),
        ("#s", "http://a:81/b/c/d?q"),
        ("..", "http://a:81/b/"),
        ("../../../g", "http://a:81/g"),
        ("https://[::1]/x", "https://[::1]/x"),
        ("HTTP://u:p@h/x", "http://h/x"),
    ] {
        assert_eq!(base.join(reference).unwrap().to_string(), wanted, "{reference}");
    }
    for bad in
        ["ftp://x/", "http://", "http://h:0/", "http://h:+1/", "a b", "x\r\ny", "http://[x]/"]
    {
        assert!(base.join(bad).is_err(), "{bad}");
    }
}
