//! The documentation of every directive, from the table.

use std::fmt::Write as _;

use gate::conf::{Directive, Fallback, Kind, Reload, Status, Table};

/// A language of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

/// The words around the rows.
struct Words {
    title: &'static str,
    intro: &'static str,
    root: &'static str,
    value: &'static str,
    default: &'static str,
    environment: &'static str,
    since: &'static str,
    reload: &'static str,
    repeated: &'static str,
    status: &'static str,
    ignored: &'static str,
    none: &'static str,
    same_as: &'static str,
}

const ENGLISH: Words = Words {
    title: "Configuration reference",
    intro: "Every directive there is, block by block. Written by `cargo xtask docs` from the table \
            the server itself checks files by. A directive is one line, `name value;`; a block \
            is `name { ... }`. The environment beats the file, the file beats the default.",
    root: "Outside of every block",
    value: "Value",
    default: "Default",
    environment: "Environment",
    since: "Since",
    reload: "A change takes effect",
    repeated: "May stand several times.",
    status: "Not there yet",
    ignored: "Accepted so that old files load; it has no effect.",
    none: "none",
    same_as: "as",
};

const CHINESE: Words = Words {
    title: "配置参考",
    intro: "全部指令，按块排列。本页由 `cargo xtask docs` 根据服务器检查配置所用的同一张表生成。\
            一条指令占一行，写作 `名称 值;`；块写作 `名称 { ... }`。环境变量优先于文件，\
            文件优先于默认值。",
    root: "块外指令",
    value: "取值",
    default: "默认值",
    environment: "环境变量",
    since: "始于",
    reload: "修改生效时机",
    repeated: "可以重复出现。",
    status: "尚未实现",
    ignored: "仅为兼容旧文件而接受，不起作用。",
    none: "无",
    same_as: "同",
};

/// The whole reference as Markdown, block by block in the order of the table.
pub fn reference(table: &Table, language: Language) -> String {
    let words = match language {
        Language::English => &ENGLISH,
        Language::Chinese => &CHINESE,
    };
    let mut out = format!("# {}\n\n{}\n", words.title, words.intro);
    let _ = write!(out, "\n## {}\n", words.root);
    for row in table.children("").filter(|row| !row.kind.is_block()) {
        entry(&mut out, row, words, language);
    }
    for block in table.rows().filter(|row| row.kind.is_block()) {
        let _ = write!(out, "\n## `{}`\n\n{}\n", block.path, text(block, language));
        notes(&mut out, block, words);
        for row in table.children(block.path).filter(|row| !row.kind.is_block()) {
            entry(&mut out, row, words, language);
        }
    }
    out
}

fn text(row: &Directive, language: Language) -> &'static str {
    match language {
        Language::English => row.en,
        Language::Chinese => row.zh,
    }
}

fn notes(out: &mut String, row: &Directive, words: &Words) {
    match row.status {
        Status::Works => {}
        Status::Planned(feature) => {
            let _ = write!(out, "\n**{}** ({feature})\n", words.status);
        }
        Status::Ignored => {
            let _ = write!(out, "\n**{}**\n", words.ignored);
        }
    }
    if row.repeated {
        let _ = write!(out, "\n{}\n", words.repeated);
    }
}

fn entry(out: &mut String, row: &Directive, words: &Words, language: Language) {
    let _ = write!(out, "\n### `{}`\n\n{}\n", row.path, text(row, language));
    notes(out, row, words);
    let default = match row.default {
        Fallback::Empty => words.none.to_owned(),
        Fallback::Text(text) => format!("`{text}`"),
        Fallback::SameAs(path) => format!("{} `{path}`", words.same_as),
    };
    let names: Vec<String> = row.env_names().iter().map(|name| format!("`{name}`")).collect();
    let environment = if names.is_empty() { words.none.to_owned() } else { names.join(", ") };
    let since = match row.since {
        "millrace" => "millrace".to_owned(),
        version => format!("SRS {version}"),
    };
    let _ = write!(
        out,
        "\n- {}: {}\n- {}: {default}\n- {}: {environment}\n- {}: {since}\n- {}: {}\n",
        words.value,
        value(row, language),
        words.default,
        words.environment,
        words.since,
        words.reload,
        reload(row.reload, language),
    );
}

fn value(row: &Directive, language: Language) -> String {
    let english = language == Language::English;
    let pick = |en: &str, zh: &str| if english { en.to_owned() } else { zh.to_owned() };
    let kind = match row.kind {
        Kind::Bool => pick("`on` or `off`", "`on` 或 `off`"),
        Kind::Int => pick("whole number", "整数"),
        Kind::Float => pick("number", "数字"),
        Kind::Millis => pick("milliseconds", "毫秒"),
        Kind::Seconds => pick("whole seconds", "整数秒"),
        Kind::FloatSeconds => pick("seconds, decimals allowed", "秒，可带小数"),
        Kind::Size => pick("bytes, `k` and `m` allowed", "字节数，可用后缀 `k`、`m`"),
        Kind::Str => pick("text", "文本"),
        Kind::List => pick("words separated by spaces", "以空格分隔的若干词"),
        Kind::Listen => pick("one or more `[ip:]port`", "一个或多个 `[ip:]port`"),
        Kind::Path => pick("path", "路径"),
        Kind::Line => pick("rule", "规则"),
        Kind::Block | Kind::FreeBlock => pick("block", "块"),
        Kind::Choice(choices) => {
            let words: Vec<String> = choices.iter().map(|word| format!("`{word}`")).collect();
            words.join(if english { ", " } else { "、" })
        }
    };
    match row.range {
        Some((min, max)) if max >= f64::from(i32::MAX) => {
            format!("{kind}{}", pick(&format!(", at least {min}"), &format!("，不小于 {min}")))
        }
        Some((min, max)) => {
            format!("{kind}{}", pick(&format!(", {min} to {max}"), &format!("，{min} 至 {max}")))
        }
        None => kind,
    }
}

fn reload(reload: Reload, language: Language) -> &'static str {
    match (reload, language) {
        (Reload::Live, Language::English) => "at once",
        (Reload::Live, Language::Chinese) => "立即",
        (Reload::NewSessions, Language::English) => "for new sessions",
        (Reload::NewSessions, Language::Chinese) => "对新会话",
        (Reload::Listener, Language::English) => "at once, its listener is opened anew",
        (Reload::Listener, Language::Chinese) => "立即，重新打开对应监听",
        (Reload::AtStart, Language::English) => "when the process starts",
        (Reload::AtStart, Language::Chinese) => "进程启动时",
    }
}
