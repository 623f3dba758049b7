use maud::{DOCTYPE, Markup, html};

use crate::guard;
use crate::when::Moment;

/// A part of a page that is redrawn by itself when it changes.
pub(crate) struct Section {
    /// Of the element in `markup`.
    pub(crate) id: &'static str,
    /// One element.
    pub(crate) markup: Markup,
}

/// What stands around the content of every page.
pub(crate) struct Shell<'a> {
    pub(crate) title: &'a str,
    pub(crate) moment: &'a Moment,
    /// Which of the places in the bar this is; absent for what lies behind one of them.
    pub(crate) place: Option<Place>,
    /// Brands to choose from, the one chosen marked; empty where there is nothing to choose.
    pub(crate) brands: &'a [String],
    pub(crate) brand: &'a str,
    /// This page without a brand chosen.
    pub(crate) all_brands: &'a str,
    /// Where changes come from; absent for pages that do not change.
    pub(crate) live: Option<&'a str>,
    /// Redraw without scripts; only for pages on which nobody types.
    pub(crate) refresh_without_scripts: bool,
    /// Said once, after something was done or refused.
    pub(crate) notice: Option<&'a Notice>,
}

/// What became of the last thing somebody did here.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) is_trouble: bool,
    pub(crate) sentence: String,
}

/// The pages that the bar at the top leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Now,
    Alerts,
    Cases,
    Silences,
}

impl Place {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Now, "/", "Now"),
        (Self::Alerts, "/alerts", "Alerts"),
        (Self::Cases, "/cases", "Cases"),
        (Self::Silences, "/silences", "Silences"),
    ];
}

impl<'a> Shell<'a> {
    /// Around a page that neither changes by itself nor has anything to choose.
    pub(crate) const fn plain(title: &'a str, moment: &'a Moment) -> Self {
        Self {
            title,
            moment,
            place: None,
            brands: &[],
            brand: "",
            all_brands: "/",
            live: None,
            refresh_without_scripts: false,
            notice: None,
        }
    }

    pub(crate) fn draw(&self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Redress" }
                    link rel="icon" type="image/svg+xml" href=(guard::asset_path("icon.svg"));
                    link rel="stylesheet" href=(guard::asset_path("console.css"));
                    script src=(guard::asset_path("live.js")) defer {}
                    @if self.refresh_without_scripts {
                        noscript { meta http-equiv="refresh" content="20"; }
                    }
                }
                body data-live=[self.live] {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.wordmark href="/" { span.mark aria-hidden="true" {} "Redress" }
                        nav.places aria-label="Pages" {
                            @for (place, path, name) in Place::ALL {
                                a href=(path) aria-current=[(self.place == Some(place)).then_some("page")] { (name) }
                            }
                        }
                        p.pulse id="pulse" {
                            span.dot aria-hidden="true" {}
                            span.pulse-words { "as of " }
                            time datetime=(self.moment.now) title=(self.moment.full(self.moment.now)) {
                                (self.moment.clock(self.moment.now))
                            }
                            " " span.zone { (self.moment.zone_name()) }
                        }
                    }
                    main id="content" {
                        (self.brand_choice())
                        @if let Some(notice) = self.notice {
                            p.notice.trouble[notice.is_trouble] role="status" { (notice.sentence) }
                        }
                        (content)
                    }
                }
            }
        }
    }

    fn brand_choice(&self) -> Markup {
        html! {
            @if self.brands.len() > 1 || !self.brand.is_empty() {
                nav.brands aria-label="Brand" {
                    a href=(self.all_brands) aria-current=[self.brand.is_empty().then_some("page")] { "All brands" }
                    @let joint = if self.all_brands.contains('?') { '&' } else { '?' };
                    @for brand in self.brands {
                        a href={ (self.all_brands) (joint) "brand=" (brand) } aria-current=[(brand == self.brand).then_some("page")] {
                            (brand)
                        }
                    }
                }
            }
        }
    }
}
