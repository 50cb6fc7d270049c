//! What does taking a body in cost per byte, as a form and raw, large and small? And what of that is parsing?

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::stream;
use image_pipeline::Limits;
use pixmill::{
    ingest::{
        BodyStream, IngestLimits,
        parser::{Event, PushParser},
        receive_form, receive_raw,
    },
    store::StagingDir,
};

const CHUNK_BYTES: usize = 64 * 1024;

/// A PNG header and as many bytes behind it as wanted: ingest reads no further than the header.
fn png_of(bytes: usize) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 16).write_to(&mut file, image::ImageFormat::Png).expect("a PNG is made");
    let mut image = file.into_inner();
    let mut state = 1_u32;
    image.resize_with(bytes, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    image
}

fn form_of(image: &[u8]) -> Vec<u8> {
    let mut body = b"--bench-boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n".to_vec();
    body.extend_from_slice(image);
    body.extend_from_slice(b"\r\n--bench-boundary--\r\n");
    body
}

fn chunks_of(body: &[u8]) -> Vec<Bytes> {
    body.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect()
}

fn stream_of(chunks: Vec<Bytes>) -> BodyStream {
    Box::pin(stream::iter(chunks.into_iter().map(Ok)))
}

fn ingest(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (staging, _) = StagingDir::open(folder.path().join("staging")).expect("a staging folder");
    let limits = IngestLimits {
        max_file_bytes: 64 << 20,
        max_request_bytes: 128 << 20,
        max_files: 20,
        max_fields: 100,
        max_field_bytes: 64 << 10,
        max_refused_bytes: 64 << 20,
        image: Limits::default(),
    };
    let mut group = criterion.benchmark_group("ingest");
    for (name, bytes) in [("20 MB", 20_000_000), ("20 KB", 20_000)] {
        let image = png_of(bytes);
        let (raw, form) = (chunks_of(&image), chunks_of(&form_of(&image)));
        group.throughput(Throughput::Bytes(image.len() as u64));
        group.bench_with_input(BenchmarkId::new("form", name), &form, |bencher, chunks| {
            bencher.iter(|| {
                let taken = runtime.block_on(async {
                    receive_form(b"multipart/form-data; boundary=bench-boundary", &mut stream_of(chunks.clone()), &limits, &staging).await
                });
                black_box(taken.expect("a form"))
            });
        });
        group.bench_with_input(BenchmarkId::new("raw", name), &raw, |bencher, chunks| {
            bencher.iter(|| {
                let taken = runtime.block_on(async { receive_raw(&mut stream_of(chunks.clone()), None, None, &limits, &staging).await });
                black_box(taken.expect("an image"))
            });
        });
    }
    group.finish();
}

/// Bytes of field data our parser gives out.
fn parsed(chunks: &[Bytes]) -> usize {
    let mut parser = PushParser::new("bench-boundary");
    let mut data_bytes = 0;
    for chunk in chunks {
        let mut input = chunk.clone();
        while let Some(event) = parser.next(&mut input).expect("a form") {
            if let Event::Data(bytes) = event {
                data_bytes += black_box(bytes).len();
            }
        }
    }
    parser.finish().expect("a whole form");
    data_bytes
}

/// The same by multer.
async fn parsed_by_multer(chunks: &[Bytes]) -> usize {
    let stream = stream::iter(chunks.iter().cloned().map(Ok::<_, std::io::Error>));
    let mut multipart = multer::Multipart::new(stream, "bench-boundary");
    let mut data_bytes = 0;
    while let Some(mut field) = multipart.next_field().await.expect("a form") {
        while let Some(bytes) = field.chunk().await.expect("data") {
            data_bytes += black_box(bytes).len();
        }
    }
    data_bytes
}

/// Parsing beside one copy of the same bytes: what no reader of a stream that fills a buffer can be below.
fn parse_alone(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("parse alone");
    // Random bytes, and bytes that begin a boundary at every turn.
    let near = b"\r\n--bench-boundarx".repeat(20_000_000 / 18);
    for (name, content) in [("20 MB", png_of(20_000_000)), ("20 KB", png_of(20_000)), ("20 MB of near-boundaries", near)] {
        let chunks = chunks_of(&form_of(&content));
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        assert_eq!((parsed(&chunks), runtime.block_on(parsed_by_multer(&chunks))), (content.len(), content.len()));
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut target = Vec::with_capacity(bytes);
        group.bench_with_input(BenchmarkId::new("copy", name), &chunks, |bencher, chunks| {
            bencher.iter(|| {
                target.clear();
                chunks.iter().for_each(|chunk| target.extend_from_slice(chunk));
                black_box(target.len())
            });
        });
        group.bench_with_input(BenchmarkId::new("ours", name), &chunks, |bencher, chunks| bencher.iter(|| parsed(chunks)));
        group.bench_with_input(BenchmarkId::new("multer", name), &chunks, |bencher, chunks| {
            bencher.iter(|| runtime.block_on(parsed_by_multer(chunks)));
        });
    }
    group.finish();
}

criterion_group!(benches, ingest, parse_alone);
criterion_main!(benches);
