//! Detectors as bytes: a snapshot goes on as what it was taken of would have.

use std::collections::BTreeMap;

use contracts::alert::v1::ThreadOutlook;
use detect::SubjectState;
use detect::thread::ThreadState;
use model::{Severity, Topic};
use paging::Evidence;
use prost::Message as _;

use super::Detectors;
use super::subject::SubjectEntry;
use super::thread::ThreadEntry;
use crate::coverage::{Hearing, StoredHearing};
use crate::outlook::{Outlooks, Said};
use crate::timeline::Diary;

/// Of a snapshot's format; another one is not read.
const SNAPSHOT_VERSION: u32 = 1;

/// The stored form of [`Detectors`].
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(int64, tag = "2")]
    watermark_s: i64,
    #[prost(int64, tag = "3")]
    lesson_s: i64,
    #[prost(btree_map = "string, int64", tag = "4")]
    first_s: BTreeMap<String, i64>,
    #[prost(message, repeated, tag = "5")]
    subjects: Vec<StoredSubject>,
    #[prost(message, repeated, tag = "6")]
    threads: Vec<StoredThread>,
    #[prost(message, optional, tag = "7")]
    hearing: Option<StoredHearing>,
    #[prost(message, repeated, tag = "8")]
    outlooks: Vec<ThreadOutlook>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredSubject {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    evidence: Vec<u8>,
    #[prost(float, tag = "4")]
    severity: f32,
    #[prost(float, tag = "5")]
    complaints: f32,
    #[prost(int64, tag = "6")]
    at_s: i64,
    #[prost(int64, tag = "7")]
    told_s: i64,
    #[prost(float, tag = "8")]
    warmup: f32,
    #[prost(message, optional, boxed, tag = "9")]
    diary: Option<Box<Diary>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredThread {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    #[prost(bool, tag = "3")]
    root_known: bool,
    #[prost(uint64, tag = "4")]
    posts: u64,
    #[prost(uint64, tag = "5")]
    complaints_milli: u64,
    #[prost(uint32, tag = "6")]
    severity: u32,
    #[prost(fixed64, tag = "7")]
    people: u64,
    #[prost(bytes = "vec", tag = "8")]
    evidence: Vec<u8>,
    #[prost(int64, tag = "9")]
    last_s: i64,
    #[prost(int64, tag = "10")]
    told_s: i64,
    #[prost(float, tag = "11")]
    told_size: f32,
    #[prost(bool, tag = "12")]
    is_open: bool,
    #[prost(uint32, tag = "13")]
    asked: u32,
    #[prost(int64, tag = "14")]
    asked_s: i64,
    #[prost(int64, optional, tag = "15")]
    stopping_s: Option<i64>,
    #[prost(bool, tag = "16")]
    is_blind: bool,
    #[prost(string, tag = "17")]
    topic: String,
    #[prost(message, optional, tag = "18")]
    said: Option<Said>,
    #[prost(message, optional, boxed, tag = "19")]
    diary: Option<Box<Diary>>,
}

impl Detectors {
    /// Everything, as bytes. Priors are left out: they are learned anew here and by who reads the bytes, so
    /// that both go on alike.
    pub(crate) fn snapshot(&mut self) -> Vec<u8> {
        self.learn_priors();
        let evidence = |pieces: &Vec<Evidence>| serde_json::to_vec(pieces).unwrap_or_default();
        let subjects = self.subjects.iter().map(|(key, entry)| StoredSubject {
            key: key.clone(),
            state: entry.state.to_bytes(),
            evidence: evidence(&entry.evidence),
            severity: entry.severity,
            complaints: entry.complaints,
            at_s: entry.at_s,
            told_s: entry.told_s,
            warmup: entry.warmup,
            diary: entry.diary.clone(),
        });
        let threads = self.threads.iter().map(|(key, thread)| StoredThread {
            key: key.clone(),
            state: thread.state.to_bytes(),
            root_known: thread.root_known,
            posts: thread.posts,
            complaints_milli: thread.complaints_milli,
            severity: u32::from(thread.severity.level()),
            people: thread.people.to_bits(),
            evidence: evidence(&thread.evidence),
            last_s: thread.last_s,
            told_s: thread.told_s,
            told_size: thread.told_size,
            asked: thread.asked,
            asked_s: thread.asked_s,
            is_open: thread.is_open,
            stopping_s: thread.stopping_s,
            is_blind: thread.is_blind,
            topic: thread.topic.as_ref().map_or_else(String::new, ToString::to_string),
            said: Some(thread.said),
            diary: thread.diary.clone(),
        });
        let stored = Stored {
            version: SNAPSHOT_VERSION,
            watermark_s: self.watermark_s,
            lesson_s: self.lesson_s,
            first_s: self.first_s.clone(),
            subjects: subjects.collect(),
            threads: threads.collect(),
            hearing: Some(StoredHearing::from(&self.hearing)),
            outlooks: self.outlooks.stored(),
        };
        stored.encode_to_vec()
    }

    /// What [`Detectors::snapshot`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let stored = Stored::decode(bytes).map_err(|e| e.to_string())?;
        if stored.version != SNAPSHOT_VERSION {
            return Err(format!("version {} is not {SNAPSHOT_VERSION}", stored.version));
        }
        let evidence = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|e| e.to_string());
        let mut detectors = Self {
            watermark_s: stored.watermark_s,
            lesson_s: stored.lesson_s,
            first_s: stored.first_s,
            hearing: stored.hearing.map(Hearing::from).unwrap_or_default(),
            outlooks: Outlooks::of(&stored.outlooks),
            ..Self::default()
        };
        for subject in stored.subjects {
            let state = SubjectState::from_bytes(&subject.state).map_err(|e| e.to_string())?;
            if state.open_since_s().is_some() {
                detectors.open.insert(subject.key.clone());
            }
            let entry = SubjectEntry {
                state,
                evidence: evidence(&subject.evidence)?,
                severity: subject.severity,
                complaints: subject.complaints,
                at_s: subject.at_s,
                told_s: subject.told_s,
                warmup: subject.warmup,
                diary: subject.diary,
            };
            if entry.diary.is_some() {
                detectors.followed.insert(subject.key.clone());
            }
            detectors.subjects.insert(subject.key, entry);
        }
        for thread in stored.threads {
            if thread.is_open {
                detectors.open.insert(thread.key.clone());
            }
            let entry = ThreadEntry {
                state: ThreadState::from_bytes(&thread.state).ok_or("a thread's state is damaged")?,
                root_known: thread.root_known,
                posts: thread.posts,
                complaints_milli: thread.complaints_milli,
                severity: Severity::from_level(thread.severity).map_err(|e| e.to_string())?,
                people: detect::DistinctSketch::from_bits(thread.people),
                evidence: evidence(&thread.evidence)?,
                last_s: thread.last_s,
                told_s: thread.told_s,
                told_size: thread.told_size,
                asked: thread.asked,
                asked_s: thread.asked_s,
                is_open: thread.is_open,
                stopping_s: thread.stopping_s,
                is_blind: thread.is_blind,
                topic: Topic::parse(&thread.topic).ok(),
                said: thread.said.unwrap_or_default(),
                diary: thread.diary,
            };
            if entry.diary.is_some() {
                detectors.followed.insert(thread.key.clone());
            }
            detectors.threads.insert(thread.key, entry);
        }
        detectors.learn_priors();
        Ok(detectors)
    }
}
