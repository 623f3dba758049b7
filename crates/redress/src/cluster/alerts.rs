//! `redress alerts`: what is open, who has it, and why.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use contracts::alert::v1::alert_service_client::AlertServiceClient;
use contracts::alert::v1::{
    AcknowledgeRequest, Episode, EpisodeState, ExplainRequest, ListEpisodesRequest, ListSilencesRequest,
    ResolveRequest, Silence, SilenceMatcher, SilenceRequest, UnsilenceRequest,
};
use runtime::net::Link;

use super::explain;
use super::follow::{self, Follow};
use super::wire::{self, Format, Id, Peer, cut, id_text, refused, time, word};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  redress alerts list --brand acme
  redress alerts ack 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --owner dana
  redress alerts silence --brand acme --topic outage --for 7200 --by dana --comment 'known, fix at 9'
  redress alerts explain 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --what-if threshold=2.5
  redress alerts watch --format jsonl")]
pub(crate) struct AlertsArgs {
    /// Where the alert service listens
    #[arg(long, env = "REDRESS_ALERT_URL", default_value = "http://localhost:7704", global = true)]
    to: String,
    #[command(flatten)]
    peer: Peer,
    #[command(subcommand)]
    command: Alerts,
}

#[derive(Debug, Subcommand)]
enum Alerts {
    /// List episodes, newest first
    List {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
        /// Resolved ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Take an episode: stops escalation and repeats until it expires
    Ack {
        /// Its id, as `list` shows it
        episode: Id,
        /// Who takes it
        #[arg(long, env = "USER")]
        owner: String,
        /// Seconds until it counts as untaken again
        #[arg(long, default_value_t = 3_600)]
        expires_in: u32,
        #[arg(long, default_value = "")]
        note: String,
    },
    /// End an episode
    Resolve {
        /// Its id, as `list` shows it
        episode: Id,
        #[arg(long, env = "USER")]
        by: String,
        #[arg(long, default_value = "")]
        note: String,
        /// Was the page of use? (kept as feedback)
        #[arg(long)]
        useful: Option<bool>,
    },
    /// Hold back new pages that match (never the end of a page already sent)
    Silence {
        #[arg(long, default_value = "")]
        brand: String,
        #[arg(long, default_value = "")]
        topic: String,
        #[arg(long, default_value = "")]
        rule: String,
        #[arg(long, default_value = "")]
        subject: String,
        /// Seconds
        #[arg(long = "for")]
        seconds: u32,
        #[arg(long, env = "USER")]
        by: String,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// End a silence: what it held back is looked at again
    Unsilence {
        /// Its id, as `silences` shows it
        silence: String,
        #[arg(long, env = "USER")]
        by: String,
    },
    /// List silences
    Silences {
        /// Those that have ended too
        #[arg(long)]
        ended: bool,
    },
    /// Follow every change, without a gap: after a lost connection it goes on where it stopped
    Watch {
        #[arg(long, default_value = "")]
        brand: String,
        /// Begin with the oldest change kept
        #[arg(long)]
        from_start: bool,
    },
    /// Say why an episode opened, grew, was or was not paged: how it went minute by minute, who drove it, each
    /// decision
    Explain {
        /// Its id, as `list` shows it
        episode: Id,
        /// When would it have opened at this threshold (a surprise; for threads a probability)? Told from its
        /// timeline; `redress backtest` runs whole rules on the log
        #[arg(long, value_name = "threshold=N")]
        what_if: Option<explain::WhatIf>,
    },
}

const HEADINGS: [&str; 7] = ["EPISODE", "STATE", "BRAND", "SINCE", "PEOPLE", "OWNER", "WHAT"];

fn row(e: &Episode) -> Vec<String> {
    let state = word(e.state().as_str_name(), "EPISODE_STATE_");
    vec![
        id_text(&e.episode_id),
        state,
        e.brand.clone(),
        time(e.since_us),
        e.people.to_string(),
        e.owner.clone(),
        cut(&e.title, 70),
    ]
}

const SILENCE_HEADINGS: [&str; 6] = ["SILENCE", "FROM", "UNTIL", "BY", "HOLDS BACK", "COMMENT"];

fn silence_row(s: &Silence) -> Vec<String> {
    let matcher = s.matcher.clone().unwrap_or_default();
    let parts = [
        ("brand", matcher.brand),
        ("topic", matcher.topic),
        ("rule", matcher.rule),
        ("subject", matcher.subject),
    ];
    let what: Vec<String> =
        parts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(name, v)| format!("{name}={v}")).collect();
    vec![
        s.silence_id.clone(),
        time(s.starts_at_us),
        time(s.ends_at_us),
        s.created_by.clone(),
        what.join(" "),
        cut(&s.comment, 60),
    ]
}

fn write_silence(format: Format, silence: Option<Silence>) -> anyhow::Result<()> {
    let silence = silence.context("the service answered without a silence")?;
    wire::write_one(format, &silence, &SILENCE_HEADINGS, silence_row)
}

/// Runs `redress alerts`.
///
/// # Errors
/// When the service refuses or cannot be reached.
pub(crate) async fn run(args: AlertsArgs) -> anyhow::Result<ExitCode> {
    let mut client = AlertServiceClient::new(args.peer.link(&args.to)?);
    let format = args.peer.format();
    let one = |episode: Option<Episode>| {
        let episode = episode.context("the service answered without an episode")?;
        wire::write_one(format, &episode, &HEADINGS, row)
    };
    match args.command {
        Alerts::List { brand, all, limit } => {
            list(&mut client, format, brand.unwrap_or_default(), all, limit).await?
        }
        Alerts::Ack { episode, owner, expires_in, note } => {
            let request = AcknowledgeRequest {
                episode_id: episode.bytes(),
                owner,
                expires_in_s: expires_in,
                note,
                ..AcknowledgeRequest::default()
            };
            one(client.acknowledge(request).await.map_err(refused)?.into_inner().episode)?;
        }
        Alerts::Resolve { episode, by, note, useful } => {
            let request =
                ResolveRequest { episode_id: episode.bytes(), by, note, useful, ..ResolveRequest::default() };
            one(client.resolve(request).await.map_err(refused)?.into_inner().episode)?;
        }
        Alerts::Silence { brand, topic, rule, subject, seconds, by, comment } => {
            let matcher = SilenceMatcher { brand, topic, rule, subject };
            let request = SilenceRequest {
                matcher: Some(matcher),
                duration_s: seconds,
                by,
                comment,
                ..SilenceRequest::default()
            };
            write_silence(format, client.silence(request).await.map_err(refused)?.into_inner().silence)?;
        }
        Alerts::Unsilence { silence, by } => {
            let request = UnsilenceRequest { silence_id: silence, by };
            write_silence(format, client.unsilence(request).await.map_err(refused)?.into_inner().silence)?;
        }
        Alerts::Silences { ended } => {
            let request = ListSilencesRequest { include_past: ended };
            let answer = client.list_silences(request).await.map_err(refused)?.into_inner();
            wire::write(format, &answer.silences, &SILENCE_HEADINGS, silence_row)?;
        }
        Alerts::Explain { episode, what_if } => {
            let threshold = what_if.map_or(0.0, |what_if| what_if.threshold);
            let request = ExplainRequest { episode_id: episode.bytes(), threshold };
            let answer = client.explain(request).await.map_err(refused)?.into_inner();
            match format {
                Format::Table => {
                    explain::lines(&answer, what_if).iter().try_for_each(|line| wire::line(line))?
                }
                Format::Json | Format::Jsonl => wire::write_one(format, &answer, &[], |_| Vec::new())?,
            }
        }
        Alerts::Watch { brand, from_start } => {
            watch(Follow::new(follow::Alerts { client, brand, from_start }), format).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    client: &mut AlertServiceClient<Link>,
    format: Format,
    brand: String,
    all: bool,
    limit: u32,
) -> anyhow::Result<()> {
    let mut states = Vec::new();
    if all {
        let every =
            [EpisodeState::Firing, EpisodeState::Acknowledged, EpisodeState::NoData, EpisodeState::Resolved];
        states.extend(every.map(i32::from));
    }
    let mut episodes: Vec<Episode> = Vec::new();
    let mut page_token = String::new();
    while episodes.len() < limit as usize {
        let request = ListEpisodesRequest {
            brand: brand.clone(),
            states: states.clone(),
            limit: (limit - episodes.len() as u32).min(500),
            page_token,
        };
        let page = client.list_episodes(request).await.map_err(refused)?.into_inner();
        episodes.extend(page.episodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    wire::write(format, &episodes, &HEADINGS, row)
}

async fn watch(mut follow: Follow<follow::Alerts>, format: Format) -> anyhow::Result<()> {
    while let Some(event) = follow.next().await? {
        if format != Format::Table {
            wire::line(&contracts::json::readable(&event).to_string())?;
            continue;
        }
        let change = word(event.change().as_str_name(), "EPISODE_CHANGE_").replace('_', " ");
        let title = event.episode.map(|episode| episode.title).unwrap_or_default();
        let reason = event.reason.map(|reason| reason.text).unwrap_or_default();
        wire::line(&format!("{}  {change}: {title} ({reason})", time(event.at_us)))?;
    }
    Ok(())
}
