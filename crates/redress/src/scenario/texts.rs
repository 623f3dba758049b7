//! What people say in the built-in scenarios: phrases in four languages that are put together with
//! controlled variation. Everything here was written for Redress.

use rand::Rng;
use rand::seq::IndexedRandom;

/// What kind of post is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Chatter,
    Praise,
    Question,
    Complaint,
    /// An answer to somebody else's complaint: "the same happened to me".
    JoiningIn,
    /// The brand answers.
    Answer,
}

/// One language's phrases. `{brand}` is the only slot.
pub(super) struct Phrases {
    pub(super) language: &'static str,
    openers: &'static [&'static str],
    chatter: &'static [&'static str],
    praise: &'static [&'static str],
    questions: &'static [&'static str],
    complaints: &'static [&'static str],
    joining_in: &'static [&'static str],
    answers: &'static [&'static str],
    closers: &'static [&'static str],
}

pub(super) const ENGLISH: Phrases = Phrases {
    language: "en",
    openers: &["", "", "", "ok so ", "right, ", "honestly ", "hm, ", "today: ", "so "],
    chatter: &[
        "reading the {brand} magazine while the kettle boils",
        "saw a {brand} advert on the tram again, the one with the dog",
        "my cousin just started a job at {brand}, first week done",
        "there is a {brand} stand at the trade fair this year",
        "podcast about how {brand} planned its network, worth an hour",
        "{brand} quarterly figures are out, analysts expected about that",
        "window seat, {brand}, coffee, clouds",
        "the new {brand} logo is fine, I suppose",
        "counting {brand} vans from the balcony, eleven so far",
        "interview with the {brand} founder in the weekend paper",
        "we compared {brand} with two others for the office, no decision yet",
        "old {brand} poster at the flea market for three euros",
    ],
    praise: &[
        "{brand} sorted my booking in two minutes, lovely person on the phone",
        "quick and friendly as ever, thank you {brand}",
        "third time with {brand} and again nothing to complain about",
        "credit where it is due: {brand} refunded me the same day",
        "the crew of {brand} this morning was a delight",
        "really pleased with {brand}, arrived early and well packed",
        "kudos to {brand} support, patient and kind with my mother",
        "{brand} made my week, upgraded without asking",
    ],
    questions: &[
        "does anyone know whether {brand} opens on Sunday?",
        "how do I change the name on a {brand} account?",
        "is {brand} any good for students?",
        "what does {brand} charge for a second bag these days?",
        "can I pay {brand} by bank transfer?",
        "where do I find the {brand} timetable for spring?",
    ],
    complaints: &[
        "{brand} has been sitting on my refund for five weeks and nobody answers my mails",
        "an hour in the {brand} queue and then they hang up on me. unacceptable",
        "{brand} delivered the wrong thing twice and now says it is my fault",
        "the {brand} app has been down since this morning, cannot pay, cannot log in",
        "my suitcase came back from {brand} with a broken wheel and they shrug",
        "{brand} charged me twice and support closed my ticket without a word",
        "rude staff at {brand} today, treated my father like a nuisance",
        "still waiting for the {brand} technician who was due on Monday. no call, nothing",
        "{brand} cancelled at midnight and left us to find a hotel ourselves",
        "I was promised a call back by {brand} within a day. that was nine days ago",
        "dear {brand}, a voucher is not a refund. give me back my money",
        "never again {brand}. you lost my parcel and lied about the delivery",
    ],
    joining_in: &[
        "same here, {brand} broke my cello case last spring and never answered",
        "this is exactly how {brand} treated us. shame on you {brand}",
        "wow. {brand}, answer the man",
        "sharing this so that {brand} finally reacts",
        "they ignored me for four months as well, do not give up",
        "the song is brilliant and {brand} should be embarrassed",
        "I was on that flight and saw the baggage handlers throw it. disgraceful {brand}",
        "just cancelled my booking with {brand} because of this",
        "how hard is it to say sorry, {brand}?",
        "everyone please listen to this. {brand} breaks guitars and does not care",
    ],
    answers: &[
        "We are sorry about this. A colleague is looking into it right now and will write to you within the hour.",
        "That should not have happened, please accept our apology. Could you send us your booking number in a private message?",
        "Thank you for telling us, and sorry for the trouble. We have put it right and the money is on its way.",
        "We understand your anger. The cause was a fault on our side; we are repairing it today.",
        "Sorry for the wait! We have found your parcel, it arrives tomorrow morning.",
    ],
    closers: &["", "", "", "", "!", " 🙂", " smh", " …", " anyway", " #monday"],
};

pub(super) const ITALIAN: Phrases = Phrases {
    language: "it",
    openers: &["", "", "", "allora, ", "niente, ", "sinceramente ", "oggi ", "comunque "],
    chatter: &[
        "hanno messo un cartellone di {brand} davanti alla stazione",
        "mia sorella ha il colloquio con {brand} giovedì",
        "ho visto il servizio su {brand} al telegiornale",
        "il nuovo spot di {brand} dura due minuti, un film",
        "caffè, giornale e la pagina economica su {brand}",
        "stiamo valutando {brand} per la gita della scuola",
        "{brand} sponsorizza la maratona anche quest'anno",
        "in ufficio si parla solo della nuova sede di {brand}",
    ],
    praise: &[
        "{brand} puntualissimi anche stavolta, complimenti",
        "assistenza di {brand} gentilissima, problema risolto in dieci minuti",
        "grazie {brand}, rimborso arrivato in due giorni",
        "personale di {brand} fantastico con i bambini",
        "tutto perfetto con {brand}, lo consiglio",
    ],
    questions: &[
        "qualcuno sa se {brand} accetta i buoni?",
        "come si cambia l'indirizzo sul conto {brand}?",
        "ma {brand} è aperto il sabato?",
        "quanto costa il bagaglio in più con {brand}?",
    ],
    complaints: &[
        "{brand} non mi rimborsa da un mese e nessuno risponde alle mail, una vergogna",
        "due ore al telefono con {brand} e poi cade la linea. inaccettabile",
        "pacco di {brand} arrivato rotto e mi dicono che è colpa mia",
        "l'app di {brand} non funziona da stamattina, impossibile pagare",
        "{brand} mi ha addebitato due volte e l'assistenza sparisce",
        "personale di {brand} maleducato, trattati come un fastidio",
        "aspetto il tecnico di {brand} da lunedì, mai visto, mai una telefonata",
        "mai più con {brand}: valigia persa e nessuna spiegazione",
    ],
    joining_in: &[
        "è successo anche a me con {brand}, chitarra rotta e zero risposte",
        "che vergogna {brand}, rispondete a questo ragazzo",
        "condivido, magari così {brand} si sveglia",
        "ascoltate la canzone, {brand} dovrebbe chiedere scusa subito",
        "mai più un volo con {brand} dopo questa",
    ],
    answers: &[
        "Ci dispiace molto. Una collega sta verificando e le scriverà entro un'ora.",
        "Ha ragione, non doveva succedere. Ci manda il numero di pratica in privato?",
        "Grazie della segnalazione e ci scusi: il rimborso parte oggi.",
        "Ci scusiamo per l'attesa, il guasto è nostro e lo stiamo sistemando.",
    ],
    closers: &["", "", "", "!", " 😅", " boh", " …", " vabbè"],
};

pub(super) const RUSSIAN: Phrases = Phrases {
    language: "ru",
    openers: &["", "", "", "ну что, ", "в общем, ", "честно говоря, ", "сегодня: "],
    chatter: &[
        "читаю интервью с директором {brand}",
        "у метро новая реклама {brand}, с котом",
        "брат устроился работать в {brand}, доволен",
        "{brand} открывает офис в нашем районе осенью",
        "сравниваем тарифы {brand} и ещё двух компаний",
        "на конференции был доклад от {brand}",
        "{brand} опубликовали отчёт за квартал",
    ],
    praise: &[
        "спасибо {brand}, всё решили за пять минут",
        "{brand} молодцы, привезли раньше срока",
        "очень вежливая поддержка у {brand}, приятно удивлён",
        "вернули деньги в тот же день, {brand} уважение",
        "третий раз с {brand} и снова всё отлично",
    ],
    questions: &[
        "подскажите, {brand} работает в воскресенье?",
        "как сменить номер в личном кабинете {brand}?",
        "кто пользуется {brand}, стоит брать?",
        "можно ли оплатить {brand} переводом?",
    ],
    complaints: &[
        "{brand} месяц не возвращают деньги и не отвечают на письма, безобразие",
        "час висел на линии {brand}, потом просто бросили трубку",
        "{brand} списали деньги дважды, поддержка молчит",
        "приложение {brand} не работает с утра, ни войти, ни оплатить",
        "чемодан после {brand} без колеса, и всем всё равно",
        "ждал мастера от {brand} весь день, никто не пришёл и не позвонил",
        "хамство в офисе {brand}, больше туда ни ногой",
        "{brand} потеряли мою посылку и врут про доставку",
    ],
    joining_in: &[
        "у меня та же история с {brand}, так и не ответили",
        "позор {brand}, ответьте человеку",
        "репост, пусть {brand} наконец проснётся",
        "песня огонь, а {brand} должно быть стыдно",
        "после такого с {brand} больше не лечу",
    ],
    answers: &[
        "Нам очень жаль. Коллега уже разбирается и напишет вам в течение часа.",
        "Приносим извинения, так быть не должно. Пришлите, пожалуйста, номер заказа в личные сообщения.",
        "Спасибо, что написали. Ошибка наша, деньги вернём сегодня.",
        "Извините за ожидание, мастер приедет завтра утром.",
    ],
    closers: &["", "", "", "!", " )", " …", " вот так"],
};

pub(super) const JAPANESE: Phrases = Phrases {
    language: "ja",
    openers: &["", "", "", "そういえば", "今日は", "なんか"],
    chatter: &[
        "駅前に{brand}の新しい広告が出てた",
        "友達が{brand}に転職したらしい",
        "{brand}の決算発表を見ている",
        "朝のコーヒーと{brand}の特集記事",
        "{brand}の展示ブースに寄ってみた",
        "旅行の計画で{brand}も候補に入れてみる",
    ],
    praise: &[
        "{brand}の対応がとても丁寧で助かりました",
        "{brand}さん、すぐに返金してくれてありがとう",
        "今回も{brand}は時間どおり、さすが",
        "{brand}のスタッフさんが親切で感動した",
    ],
    questions: &[
        "{brand}って日曜日も開いてますか？",
        "{brand}の住所変更はどこからできますか？",
        "{brand}の追加料金っていくらですか？",
    ],
    complaints: &[
        "{brand}に問い合わせて三週間、まったく返事がない。ひどすぎる",
        "{brand}のアプリが朝から使えない。支払いもできない",
        "{brand}から届いた商品が壊れていたのに、返金を断られた",
        "{brand}に二重請求された。電話もつながらない",
        "{brand}の店員の態度が最悪だった。二度と行かない",
        "{brand}の配達がまた来ない。連絡もなし。いい加減にしてほしい",
    ],
    joining_in: &[
        "私も{brand}で同じ目に遭いました。返事なしです",
        "{brand}、ちゃんと答えてください",
        "これは拡散すべき。{brand}ひどい",
        "歌が最高。{brand}は謝るべき",
    ],
    answers: &[
        "ご不便をおかけし申し訳ございません。担当者が確認し、一時間以内にご連絡いたします。",
        "このたびは誠に申し訳ございません。お手数ですが、ご予約番号をメッセージでお送りください。",
        "ご連絡ありがとうございます。本日中に返金の手続きをいたします。",
    ],
    closers: &["", "", "", "。", "！", "…", "笑"],
};

/// The languages people write in here, and how often.
pub(super) const LANGUAGES: [(&Phrases, u32); 4] =
    [(&ENGLISH, 52), (&ITALIAN, 18), (&RUSSIAN, 16), (&JAPANESE, 14)];

/// Writes one post about `brand`.
pub(super) fn write(rng: &mut impl Rng, phrases: &Phrases, mood: Mood, brand: &str) -> String {
    let bodies = match mood {
        Mood::Chatter => phrases.chatter,
        Mood::Praise => phrases.praise,
        Mood::Question => phrases.questions,
        Mood::Complaint => phrases.complaints,
        Mood::JoiningIn => phrases.joining_in,
        Mood::Answer => phrases.answers,
    };
    let one = |rng: &mut _, list: &'static [&'static str]| *list.choose(rng).unwrap_or(&"");
    if mood == Mood::Answer {
        return one(rng, bodies).to_owned();
    }
    let opener = one(rng, phrases.openers);
    let body = one(rng, bodies).replace("{brand}", brand);
    let closer = one(rng, phrases.closers);
    let mut text = format!("{opener}{body}{closer}");
    // A little of how people really type.
    match rng.random_range(0..20) {
        0 => text = text.to_lowercase(),
        1 if phrases.language != "ja" => text.push_str(&format!(" ({})", rng.random_range(2..90))),
        2 => text = text.replace(". ", "... "),
        _ => {}
    }
    text
}
