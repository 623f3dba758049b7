//! What understanding a post costs, beside a plain hash of the same bytes, a word list with rules (VADER) and fastText.
//!
//! The word list answers one question (sentiment, in English), fastText one (complaint or not, with a model of the usual
//! size learned here from the same posts); ours answers all, and says the language.
// A program, not the crate: fastText reads what it learns from in a file.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fasttext::FastText;
use fasttext::args::Args;
use nlp::train::phrases::{Phrases, Written};
use nlp::{Hint, Model, Scratch};
use vader_sentimental::SentimentIntensityAnalyzer;
use xxhash_rust::xxh3::xxh3_64;

fn posts() -> Vec<Written> {
    let files = [
        (include_str!("../training/phrases/en.txt"), false),
        (include_str!("../training/phrases/it.txt"), false),
        (include_str!("../training/phrases/ru.txt"), false),
        (include_str!("../training/phrases/ja.txt"), true),
    ];
    let mut posts = Vec::new();
    for (file, dense) in files {
        let phrases = Phrases::parse(file, dense).expect("the phrase files are tested");
        posts.extend(phrases.write(250, 11));
    }
    posts
}

/// The settings people start from: vectors of 50, pairs of words, stretches of three to five.
fn fast_text(posts: &[Written]) -> FastText {
    let file = std::env::temp_dir().join(format!("redress-bench-{}.txt", std::process::id()));
    let lines: String = posts
        .iter()
        .map(|post| {
            let label = if post.complaint == Some(true) { "yes" } else { "no" };
            format!("__label__{label} {}\n", post.text.replace('\n', " "))
        })
        .collect();
    std::fs::write(&file, lines).expect("the folder for passing files takes one");
    let mut args = Args::new();
    args.apply_supervised_defaults();
    args.input.clone_from(&file);
    (args.dim, args.word_ngrams, args.minn, args.maxn) = (50, 2, 3, 5);
    (args.bucket, args.epoch, args.thread, args.verbose) = (2_000_000, 3, 1, 0);
    let model = FastText::train(args).expect("the posts have two labels");
    std::fs::remove_file(&file).expect("the file was just read");
    model
}

fn understand(c: &mut Criterion) {
    let written = posts();
    let fast_text = fast_text(&written);
    let posts: Vec<String> = written.into_iter().map(|post| post.text).collect();
    let word_list = SentimentIntensityAnalyzer::new();
    let bytes: usize = posts.iter().map(String::len).sum();
    println!("posts of {} bytes on average", bytes / posts.len());
    let model = Model::shipped();
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group("1000 posts");
    group.throughput(Throughput::Elements(posts.len() as u64));
    group.bench_function("plain hash of the bytes", |b| {
        b.iter(|| posts.iter().fold(0u64, |sum, post| sum ^ xxh3_64(black_box(post).as_bytes())));
    });
    group.bench_function("word list with rules (VADER)", |b| {
        b.iter(|| posts.iter().map(|post| word_list.polarity_scores(black_box(post)).compound).sum::<f64>());
    });
    group.bench_function("fastText", |b| {
        b.iter(|| {
            posts
                .iter()
                .flat_map(|post| fast_text.predict(black_box(post), 1, 0.0))
                .map(|prediction| prediction.prob)
                .sum::<f32>()
        });
    });
    group.bench_function("understand", |b| {
        b.iter(|| {
            posts
                .iter()
                .map(|post| model.understand(&mut scratch, black_box(post), Hint::default()).complaint)
                .sum::<f32>()
        });
    });
    let mut why = Vec::new();
    group.bench_function("understand and explain", |b| {
        b.iter(|| {
            let mut found = 0;
            for post in &posts {
                let answer = model.understand(&mut scratch, black_box(post), Hint::default());
                model.explain_last(&mut scratch, post, &answer, 3, &mut why);
                found += why.len();
            }
            found
        });
    });
    group.finish();
    c.bench_function("load the shipped model", |b| {
        let bytes = model.to_bytes();
        b.iter(|| Model::from_bytes(black_box(&bytes)).map(|model| model.topics().len()));
    });
}

criterion_group!(benches, understand);
criterion_main!(benches);
