use gate::conf::{Fallback, Kind, Status, check};

use super::*;

#[test]
fn no_directive_has_two_rows_and_each_stands_in_a_block_that_has_one() {
    let table = directives::table(&[]);
    assert_eq!(table.duplicates(), &[] as &[&str]);
    for row in table.rows() {
        let parent = row.parent();
        let block = parent.is_empty() || table.get(parent).is_some_and(|row| row.kind.is_block());
        assert!(block, "{} has no block", row.path);
    }
}

#[test]
fn every_row_is_documented_in_both_languages() {
    for row in directives::table(&[]).rows() {
        assert!(row.en.len() > 3 && row.en.is_ascii(), "{}", row.path);
        let chinese = row.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        assert!(chinese, "{}", row.path);
    }
}

#[test]
fn every_default_is_a_value_that_its_row_allows() {
    let table = directives::table(&[]);
    for row in table.rows() {
        match row.default {
            Fallback::Text(text) => {
                for word in text.split(' ') {
                    assert_eq!(check(row, word), Ok(()), "{}", row.path);
                }
            }
            Fallback::SameAs(other) => {
                let other = table.get(other).unwrap();
                let chained = matches!(other.default, Fallback::SameAs(_));
                assert!(!chained && !other.kind.is_block(), "{}", row.path);
            }
            Fallback::Empty => {}
        }
    }
}

#[test]
fn what_a_planned_block_holds_is_planned_too() {
    let table = directives::table(&[]);
    for row in table.rows() {
        let parent = table.get(row.parent()).map(|row| row.status);
        if let Some(Status::Planned(_)) = parent {
            assert_ne!(row.status, Status::Works, "{}", row.path);
        }
    }
}

#[test]
fn no_two_directives_listen_to_one_variable_unless_they_are_one_thing() {
    let table = directives::table(&[]);
    let mut names: Vec<(String, &str)> = table
        .rows()
        .flat_map(|row| row.env_names().into_iter().map(move |name| (name, row.path)))
        .collect();
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|w| w[0].0 == w[1].0).map(|w| w[0].1).collect();
    assert_eq!(twice, ["chunk_size"]);
}

#[test]
fn the_reference_names_every_directive_and_its_variable() {
    let table = directives::table(&[]);
    for language in [Language::English, Language::Chinese] {
        let text = reference(&table, language);
        for row in table.rows() {
            assert!(text.contains(&format!("`{}`", row.path)), "{}", row.path);
        }
        assert!(text.contains("`SRS_VHOST_HLS_HLS_FRAGMENT`"));
        assert!(text.contains("`60000`"));
    }
}

#[test]
fn a_protocol_takes_a_row_over_by_bringing_its_own() {
    static MINE: &[gate::conf::Directive] =
        &[gate::conf::Directive::new("rtsp_server.listen", Kind::Listen).default("8554")];
    let table = directives::table(&[MINE]);
    assert_eq!(table.get("rtsp_server.listen").unwrap().default, Fallback::Text("8554"));
    assert_eq!(table.duplicates(), ["rtsp_server.listen"]);
}
