//! Images of spans against scans of the same moment, whatever happens in between.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::watch::SpanWatch;

const SEEDS: u64 = 60;
const STEPS: usize = 120;
const KEYS: u32 = 24;

struct Image {
    span: Span,
    watch: SpanWatch,
    newest: Timestamp,
    rows: Vec<(Key, Value)>,
}

fn some_key(rng: &mut StdRng) -> Key {
    key(&format!("{:02}", rng.random_range(0..KEYS)))
}

fn some_span(rng: &mut StdRng) -> Span {
    let (one, other) = (some_key(rng), some_key(rng));
    Span { start: one.clone().min(other.clone()), end: Span::key(&one.max(other)).end }
}

async fn change(store: &Store, rng: &mut StdRng) {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement().unwrap();
    for _ in 0..rng.random_range(1..5) {
        match rng.random_bool(0.3) {
            true => transaction.delete(some_key(rng)).unwrap(),
            false => transaction.put(some_key(rng), value(rng.random())).unwrap(),
        }
    }
    transaction.commit().await.unwrap();
}

fn read(view: &ReadView, span: &Span) -> Vec<(Key, Value)> {
    let mut rows = Vec::new();
    let mut cursor = view.scan(span.clone(), Direction::Forward);
    let mut visit = |key: &[u8], value: &[u8]| rows.push((Key::copy_from_slice(key), Value::copy_from_slice(value)));
    while cursor.next_chunk(5, 1 << 20, &mut visit).unwrap() {}
    rows
}

/// An image of a span, with changes going on meanwhile. `None` where none can be kept.
async fn image(store: &Store, view: &ReadView, rng: &mut StdRng) -> Option<Image> {
    let span = some_span(rng);
    let watch = view.watch(&span)?;
    let mut rows = Vec::new();
    let mut cursor = view.scan(span.clone(), Direction::Forward);
    loop {
        let mut visit =
            |key: &[u8], value: &[u8]| rows.push((Key::copy_from_slice(key), Value::copy_from_slice(value)));
        let more = cursor.next_chunk(3, 1 << 20, &mut visit).unwrap();
        if rng.random_bool(0.2) {
            change(store, rng).await;
        }
        // It may also end early, with what it has.
        if !more || rng.random_bool(0.1) {
            let end = cursor.rest()?.start.clone();
            if cursor.newest() > view.timestamp() {
                return None;
            }
            watch.end_at(&end);
            let span = Span { start: span.start, end };
            return Some(Image { span, watch, newest: cursor.newest(), rows });
        }
    }
}

#[tokio::test]
async fn an_image_that_is_good_shows_what_a_scan_shows() {
    let (mut good, mut stale) = (0, 0);
    for seed in 0..SEEDS {
        let store = store().await;
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut views = vec![store.latest_view()];
        let mut images: Vec<Image> = Vec::new();
        for _ in 0..STEPS {
            match rng.random_range(0..20) {
                0..8 => change(&store, rng).await,
                8 => {
                    // A key that begins a shard already is refused, which is as good.
                    let _refused = store.split_at(some_key(rng)).await;
                }
                9 => {
                    let gone = rng.random_range(0..images.len() + 1);
                    images.truncate(gone);
                }
                10 => views.truncate(4),
                11..14 => views.push(store.latest_view()),
                14 => {
                    let mut transaction = store.begin(Isolation::RepeatableRead, false);
                    transaction.begin_statement().unwrap();
                    transaction.put(some_key(rng), value(0)).unwrap();
                    transaction.finish_statement(true);
                    views.push(transaction.view());
                    transaction.rollback().await;
                }
                _ => {
                    let view = views[rng.random_range(0..views.len())].clone();
                    images.extend(image(&store, &view, rng).await);
                }
            }
            for image in &images {
                for view in &views {
                    let bare = view.is_bare(&image.span).unwrap();
                    if bare && image.newest <= view.timestamp() && view.timestamp() < image.watch.changed() {
                        good += 1;
                        assert_eq!(read(view, &image.span), image.rows, "seed {seed}");
                    } else {
                        stale += 1;
                    }
                }
            }
        }
    }
    // The test is worth something only when both happen often.
    assert!(good > 1_000 && stale > 1_000, "{good} good, {stale} stale");
}

#[tokio::test]
async fn an_image_of_dropped_rows_is_never_good() {
    let store = store().await;
    put(&store, &[("a", 1), ("b", 2)]).await;
    let span = Span::prefix(b"\x02");
    let watch = store.latest_view().watch(&span).unwrap();
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    transaction.drop_span(&Span { start: key("a"), end: key("c") }).unwrap();
    transaction.commit().await.unwrap();
    for _ in 0..200 {
        if watch.changed() == Timestamp(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Dropping waits for snapshots; the rows must still be there then.
    assert_eq!(read(&store.latest_view(), &span).len(), 2, "rows went unnoticed");
}
