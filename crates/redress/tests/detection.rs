//! What scripts rely on of `detect` and of training a thread forecast: bad input named by line, answers at once,
//! constant memory.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn start(folder: &Path, line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_redress"))
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn redress_in(folder: &Path, line: &str, input: &[u8]) -> Ended {
    let mut child = start(folder, line);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Refused wrong usage is not read to the end: that is no fault of the writer.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn redress(line: &str, input: impl AsRef<[u8]>) -> Ended {
    redress_in(&std::env::temp_dir(), line, input.as_ref())
}

#[test]
fn bad_rows_of_a_series_are_named_by_line_and_field_and_the_rest_is_answered() {
    let rows = "timestamp,value\n2020-01-01 00:00:00,5\n2020-01-01 00:10:00,6\n2020-01-01 00:05:00,7\n\
        2020-01-01 00:10:00,7\n2020-01-01 00:15:00,NaN\n2020-01-01 00:15:00,-3\n2020-01-01 00:15:00,text\n\
        2020-01-01 00:15:00,\nno comma\nyesterday,4\n1577837700000,4\n\n2020-01-01T00:20:00Z,9\r\n1579220400,9";
    let ended = redress("detect series", rows);
    let answered: Vec<&str> = ended.out.lines().map(|row| &row[..row.len() - ",0.000,0".len()]).collect();
    let header = "timestamp,value,surprise,alarm";
    assert_eq!(ended.out.lines().next(), Some(header));
    assert_eq!(
        answered[1..],
        ["2020-01-01 00:00:00,5", "2020-01-01 00:10:00,6", "2020-01-01T00:20:00Z,9", "1579220400,9"]
    );
    let said = [
        "-:4: the time is 300 s before the previous row's",
        "-:5: the time repeats the previous row's",
        "-:6: the value is not a finite number of zero or more",
        "-:7: the value is not a finite number of zero or more",
        "-:8: value \"text\" is no number",
        "-:9: value \"\" is no number",
        "-:10: expected timestamp,value but there is no comma",
        "-:11: timestamp \"yesterday\" is no RFC 3339 time, YYYY-MM-DD HH:MM:SS or unix seconds",
        "-:12: timestamp \"1577837700000\" is no RFC 3339 time, YYYY-MM-DD HH:MM:SS or unix seconds (milliseconds?)",
    ];
    assert_eq!((ended.code, ended.err.lines().collect::<Vec<_>>()), (1, said.to_vec()));
}

#[test]
fn a_reason_says_in_the_files_unit_what_came_and_what_is_usual() {
    // A week of 10 or 11 every five minutes, then 60.
    let row = |i: i64| format!("{},{}\n", 1_600_000_200 + 300 * i, if i < 2016 { 10 + i % 2 } else { 60 });
    let rows: String = (0..2020).map(row).collect();
    let plain = redress("detect series", &rows);
    let told = redress("detect series --reasons", &rows);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert_eq!(told.out.lines().next(), Some("timestamp,value,surprise,alarm,reason"));
    let mut alarms = Vec::new();
    for (before, with) in plain.out.lines().zip(told.out.lines()).skip(1) {
        let reason = with.strip_prefix(before).and_then(|rest| rest.strip_prefix(',')).unwrap();
        assert_eq!(before.ends_with(",1"), !reason.is_empty(), "{with}");
        alarms.extend((!reason.is_empty()).then_some(reason));
    }
    assert_eq!(alarms, ["134 in 40 min; usual for Sunday 12:00 UTC is 79 to 90; building for about an hour"]);
}

#[test]
fn an_empty_series_and_one_row_are_no_faults() {
    for (input, rows) in [("", 0), ("timestamp,value\n", 0), ("\n\n", 0), ("1600000000,5", 1)] {
        let ended = redress("detect series", input);
        assert_eq!(
            (ended.code, ended.out.lines().count(), ended.err.as_str()),
            (0, 1 + rows, ""),
            "{input:?}"
        );
    }
    assert_eq!(redress("detect series --false-alarms-per-day 0", "").code, 2);
    let missing = redress("detect series there-is-no-such-file", "");
    assert!(missing.code == 1 && missing.err.contains("there-is-no-such-file"), "{}", missing.err);
}

#[test]
fn where_nobody_hears_what_is_refused_the_rest_is_answered() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full to write refusals to");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows"), "1600000000,5\nnothing\n1600000300,6\n").unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_redress"))
        .args(["detect", "series", "rows"])
        .current_dir(folder.path())
        .stderr(full)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.split(|b| *b == b'\n').count()), (Some(1), 4));
}

#[test]
fn a_row_is_answered_before_the_next_is_read_and_a_prefix_is_answered_alike() {
    let rows: Vec<String> =
        (0..600).map(|i| format!("{},{}\n", 1_600_000_000 + i * 300, i * 7919 % 13)).collect();
    let whole = redress("detect series", rows.concat());
    let part = redress("detect series", rows[..250].concat());
    assert!(whole.out.starts_with(&part.out) && part.out.lines().count() == 251);
    let mut child = start(&std::env::temp_dir(), "detect series");
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (i, row) in rows[..5].iter().enumerate() {
        stdin.write_all(row.as_bytes()).unwrap();
        stdin.flush().unwrap();
        // The first row is answered behind the header.
        for answer in whole.out.lines().take(i + 2).skip(if i == 0 { 0 } else { i + 1 }) {
            assert_eq!(answers.next().unwrap().unwrap(), answer);
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// Most memory a process had, in MiB.
fn peak_mib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn memory_does_not_grow_with_rows_nor_with_the_length_of_a_line() {
    if !Path::new("/proc/self/status").exists() {
        println!("skipped: no /proc to read a process's memory from");
        return;
    }
    for command in ["detect series", "detect cascade"] {
        let mut child = start(&std::env::temp_dir(), command);
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
        // A line of 80 MiB, then a million good rows.
        let piece = vec![b'7'; 1 << 20];
        (0..80).for_each(|_| stdin.write_all(&piece).unwrap());
        stdin.write_all(b"\n").unwrap();
        for thousand in 0..1000u64 {
            let rows: String =
                (0..1000).map(|i| format!("{},4\n", 600_000_000 + thousand * 1000 + i)).collect();
            stdin.write_all(rows.as_bytes()).unwrap();
        }
        stdin.flush().unwrap();
        let peak_mib = peak_mib(&child);
        drop(stdin);
        reader.join().unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(1), "-:1: the line is too long\n"));
        assert!(peak_mib < 64, "{command}: {peak_mib} MiB");
    }
}

#[test]
fn bad_lines_of_a_thread_are_named_and_all_four_forecasts_are_finite() {
    let lines = "0 100\n5 10\n3 10\n7 NaN\nNaN 5\n-1 3\n8 -4\nx y\n10 5.5\n10 5 5\n11\n400 3\n700 9\n";
    let ended = redress("detect cascade", lines);
    let named: Vec<&str> = ended.err.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!((ended.code, named), (1, vec!["-:3", "-:4", "-:5", "-:6", "-:7", "-:8", "-:9", "-:10"]));
    assert!(ended.err.contains("followers \"NaN\"") && ended.err.contains("seconds \"x\""), "{}", ended.err);
    let seen: Vec<u64> = forecasts(&ended).iter().map(|told| told["seen"].as_u64().unwrap()).collect();
    assert_eq!(seen, [3, 4, 4, 4]);
    for (input, code) in [("", 1), ("nothing\n", 1), ("0 100\n", 0)] {
        let ended = redress("detect cascade", input);
        assert_eq!((ended.code, forecasts(&ended).len()), (code, 4), "{input:?}");
        assert!(ended.err.is_empty() || ended.err.starts_with("-:1: "), "{}", ended.err);
    }
    assert_eq!(redress("detect cascade --model there-is-no-such-file", "0 1\n").code, 1);
}

/// The lines of output, each checked for being possible.
fn forecasts(ended: &Ended) -> Vec<serde_json::Value> {
    let told: Vec<serde_json::Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for told in &told {
        let number = |name: &str| told[name].as_f64().unwrap();
        let (seen, low, high) = (number("seen"), number("low"), number("high"));
        assert!(seen <= low && low <= number("expected_final") && number("expected_final") <= high, "{told}");
        let p = told["p_at_least"].as_object().unwrap();
        assert!(p.values().all(|p| (0.0..=1.0).contains(&p.as_f64().unwrap())), "{told}");
    }
    told
}

/// A thread of one reaction every `every_s` seconds for an hour.
fn thread(every_s: u32) -> String {
    let reactions: String = (1..=3600 / every_s).map(|k| format!("{} 50\n", k * every_s)).collect();
    format!("0 1000\n{reactions}")
}

#[test]
fn more_is_told_of_a_thread_to_who_asks() {
    let asked =
        redress("detect cascade --size 70,300 --people 5000 --after 3600,86400 --doubling", thread(60));
    let told = &forecasts(&asked)[1];
    let p = told["p_at_least"].as_object().unwrap();
    assert!(p.len() == 2 && p["70"].as_f64() >= p["300"].as_f64(), "{told}");
    let at = |after: &str| told["expected_at"][after].as_f64().unwrap();
    assert!(60.0 <= at("3600") && at("3600") <= at("86400"), "{told}");
    assert!(told.get("doubling_s").is_some_and(|s| s.is_null() || s.as_f64().unwrap() > 0.0), "{told}");
    // Sixty reactions brought 3,000 people to the author's 1,000; at the last check it was no other.
    assert!(told["answer_within_s"].is_null() || told["answer_within_s"].as_f64().unwrap() > 0.0, "{told}");
    let reached = redress("detect cascade --people 3900", thread(60));
    assert_eq!(forecasts(&reached)[1]["answer_within_s"], 0.0);
    let plain = redress("detect cascade", thread(60));
    assert!(["expected_at", "doubling_s", "answer_within_s"].iter().all(|name| !plain.out.contains(name)));
}

#[test]
fn a_folder_of_threads_becomes_a_model_and_what_is_no_thread_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let threads = folder.path().join("threads");
    std::fs::create_dir(&threads).unwrap();
    std::fs::write(threads.join(".hidden"), "not looked at").unwrap();
    std::fs::write(threads.join("LICENSE"), "Do with it\nwhat you like\n").unwrap();
    for every_s in 20..30 {
        std::fs::write(threads.join(format!("{every_s}.txt")), thread(every_s)).unwrap();
    }
    let few = redress_in(folder.path(), "train --task cascade --train threads --out own.model", b"");
    assert!(few.code == 1 && few.err.contains("10 finished threads are too few"), "{}", few.err);
    for every_s in 30..55 {
        std::fs::write(threads.join(format!("{every_s}.txt")), thread(every_s)).unwrap();
    }
    let train = |out: &str| {
        let ended =
            redress_in(folder.path(), &format!("train --task cascade --train threads --out {out}"), b"");
        let named = "threads/LICENSE:1: seconds \"Do\" are no number of zero or more; the file is left out\n";
        assert_eq!((ended.code, ended.err.as_str()), (1, named));
        assert!(ended.out.contains("from 35 threads"), "{}", ended.out);
        std::fs::read(folder.path().join(out)).unwrap()
    };
    assert_eq!(train("own.model"), train("again.model"), "same threads, same bytes");
    // Threads that end after an hour are forecast so by their own model and not by the shipped one.
    let end = |line: &str| {
        let ended = redress_in(folder.path(), line, thread(40).as_bytes());
        assert_eq!(ended.code, 0, "{}", ended.err);
        forecasts(&ended)[1]["expected_final"].as_f64().unwrap()
    };
    let (own, shipped) = (end("detect cascade --model own.model"), end("detect cascade"));
    assert!((own - 90.0).abs() < 15.0 && (own - 90.0).abs() < (shipped - 90.0).abs(), "{own} {shipped}");
}
