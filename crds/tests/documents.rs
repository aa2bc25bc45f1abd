//! The documents name what there is: reasons, and places that links lead to.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use penstock_crds::Reason;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Where this crate's folder is in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `docs/troubleshooting.md` says what every reason means, so that it can be looked up from what one sees.
#[test]
fn troubleshooting_names_every_reason() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let missing: Vec<String> = Reason::ALL
        .iter()
        .map(ToString::to_string)
        .filter(|reason| !page.contains(&format!("`{reason}`")))
        .collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not say what to do at {}", missing.join(", "));
}

/// Links to other hosts are not followed: nothing is asked of the network.
#[test]
fn links_lead_somewhere() {
    let pages: BTreeMap<PathBuf, Page> =
        documents().into_iter().map(|path| (path.clone(), read(&path))).collect();
    let astray: Vec<String> = pages
        .iter()
        .flat_map(|(path, page)| page.links.iter().map(move |link| (path, link)))
        .filter(|(path, link)| !leads_somewhere(&pages, path, link))
        .map(|(path, link)| format!("{}: {link}", path.display()))
        .collect();
    assert!(astray.is_empty(), "these links lead nowhere:\n{}", astray.join("\n"));
}

/// A document's links, and the anchors that GitHub gives its headings.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

/// Every Markdown file at the root, in `docs/`, and the READMEs of folders, from the checkout's root.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new(), PathBuf::from("docs")];
    folders.extend(
        entries(Path::new("")).into_iter().filter(|path| root().join(path).join("README.md").is_file()),
    );
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            } else if folder.starts_with("docs") && root().join(&path).is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    entries.map(|entry| folder.join(entry.unwrap().file_name())).collect()
}

fn read(path: &Path) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let (mut links, mut headings, mut heading) = (Vec::new(), Vec::new(), None);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.to_string())
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => headings.extend(heading.take()),
            Event::Text(text) | Event::Code(text) => {
                heading.iter_mut().for_each(|heading| heading.push_str(&text))
            }
            _ => {}
        }
    }
    Page { links, anchors: anchors(&headings) }
}

/// As GitHub makes them (github-slugger): lower case, hyphens for spaces, no punctuation, and a number where the
/// same has been before.
fn anchors(headings: &[String]) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
        let slug: String = heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
        let numbered = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

fn leads_somewhere(pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> bool {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return true;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { Some(from.to_owned()) } else { resolve(from, file) };
    let Some(target) = target.filter(|target| root().join(target).exists()) else { return false };
    anchor.is_none_or(|anchor| pages.get(&target).is_some_and(|page| page.anchors.contains(anchor)))
}

/// The path from the checkout's root; none where it would leave the checkout.
fn resolve(from: &Path, file: &str) -> Option<PathBuf> {
    let mut path = from.parent()?.to_owned();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." if path.as_os_str().is_empty() => return None,
            ".." => _ = path.pop(),
            name => path.push(name),
        }
    }
    Some(path)
}

#[test]
fn anchors_are_those_of_github() {
    let headings = [
        "What `make x` does",
        "EXTERNAL-IP is `<pending>`",
        "Upgrade, rollback, uninstall",
        "Twice",
        "Twice",
    ];
    let expected =
        ["what-make-x-does", "external-ip-is-pending", "upgrade-rollback-uninstall", "twice", "twice-1"];
    assert_eq!(anchors(&headings.map(str::to_owned)), expected.map(str::to_owned).into());
}

#[test]
fn a_link_astray_is_found() {
    let page = |anchor: &str| Page { links: Vec::new(), anchors: [anchor.to_owned()].into() };
    let pages =
        [("README.md", "try-it"), ("docs/aws.md", "tls")].map(|(path, anchor)| (path.into(), page(anchor)));
    let pages = BTreeMap::from(pages);
    let leads = |link: &str| leads_somewhere(&pages, Path::new("docs/aws.md"), link);
    for link in ["#tls", "aws.md#tls", "../README.md#try-it", "../crds", "https://example.com/#x"] {
        assert!(leads(link), "{link}");
    }
    for link in ["#ssl", "README.md", "../README.md#tls", "../../README.md", "../crds#x"] {
        assert!(!leads(link), "{link}");
    }
}
