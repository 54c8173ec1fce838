use super::*;

#[tokio::test]
async fn neither_an_error_nor_a_panic_ends_a_reconciler_and_both_are_counted() {
    let tally = Tally::default();
    assert!(once("test", &tally, async { Ok(()) }).await);
    once("test", &tally, async { Err(Failure::Unavailable("the disk is full".into())) }).await;
    once("test", &tally, async { panic!("a defect") }).await;
    once("test", &tally, async { Ok(()) }).await;
    assert_eq!(tally.runs.load(Ordering::Relaxed), 4);
    assert_eq!(tally.failures.load(Ordering::Relaxed), 2);
}
