//! What understanding a post costs, beside a plain hash of the same bytes.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nlp::train::phrases::Phrases;
use nlp::{Hint, Model, Scratch};
use xxhash_rust::xxh3::xxh3_64;

fn posts() -> Vec<String> {
    let files = [
        (include_str!("../training/phrases/en.txt"), false),
        (include_str!("../training/phrases/it.txt"), false),
        (include_str!("../training/phrases/ru.txt"), false),
        (include_str!("../training/phrases/ja.txt"), true),
    ];
    let mut posts = Vec::new();
    for (file, dense) in files {
        let phrases = Phrases::parse(file, dense).expect("the phrase files are tested");
        posts.extend(phrases.write(250, 11).into_iter().map(|written| written.text));
    }
    posts
}

fn understand(c: &mut Criterion) {
    let posts = posts();
    let model = Model::shipped();
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group("1000 posts");
    group.throughput(Throughput::Elements(posts.len() as u64));
    group.bench_function("plain hash of the bytes", |b| {
        b.iter(|| posts.iter().fold(0u64, |sum, post| sum ^ xxh3_64(black_box(post).as_bytes())));
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
