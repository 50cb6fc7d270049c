//! Samples to names: the loaded files and their unwind tables, read from `/proc/self/maps` and the files themselves.
//!
//! Must not run in a signal handler: it allocates and reads files.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use addr2line::Loader;
use framehop::{CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module, Unwinder as _, UnwinderNative};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};

use super::sampler::Sample;

/// Frames of a stack that are kept, from the innermost on.
const MOST_FRAMES: usize = 128;

/// The stacks seen so far.
pub(super) struct Stacks {
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    files: Vec<LoadedFile>,
    /// By thread and addresses, innermost first.
    counts: HashMap<(String, Vec<u64>), u64>,
}

struct LoadedFile {
    path: PathBuf,
    /// Where its code is.
    code: std::ops::Range<u64>,
    /// What an address in the file is moved by.
    base: u64,
}

impl Stacks {
    pub(super) fn of_this_process() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut stacks = Self { unwinder: UnwinderNative::new(), cache: CacheNative::new(), files: Vec::new(), counts: HashMap::new() };
        for (code, offset, path) in maps.lines().filter_map(code_of) {
            if let Some((file, module)) = load(path, code, offset) {
                stacks.unwinder.add_module(module);
                stacks.files.push(file);
            }
        }
        stacks
    }

    pub(super) fn add(&mut self, sample: &Sample) {
        let mut read = |address| sample.word(address).ok_or(());
        let mut frames = self.unwinder.iter_frames(sample.pc, registers(sample), &mut self.cache, &mut read);
        let mut addresses = Vec::new();
        while let (true, Ok(Some(frame))) = (addresses.len() < MOST_FRAMES, frames.next()) {
            addresses.push(frame.address_for_lookup());
        }
        *self.counts.entry((kind_of(&sample.thread), addresses)).or_default() += 1;
    }

    /// By text: the thread, then functions from the outermost to the innermost.
    pub(super) fn folded(self) -> BTreeMap<String, u64> {
        let loaders: Vec<Option<Loader>> = self.files.iter().map(|file| Loader::new(&file.path).ok()).collect();
        let mut names: HashMap<u64, Vec<String>> = HashMap::new();
        let mut folded = BTreeMap::new();
        for ((thread, addresses), count) in self.counts {
            let mut stack = thread;
            for address in addresses.iter().rev() {
                let functions = names.entry(*address).or_insert_with(|| {
                    let found = self.files.iter().position(|file| file.code.contains(address));
                    found.map_or_else(|| vec!["[unknown]".into()], |index| functions(&self.files[index], loaders[index].as_ref(), *address))
                });
                for function in functions.iter() {
                    stack.push(';');
                    stack.push_str(function);
                }
            }
            *folded.entry(stack).or_default() += count;
        }
        folded
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(sample: &Sample) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(sample.pc, sample.sp, sample.fp)
}

#[cfg(target_arch = "aarch64")]
fn registers(sample: &Sample) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(sample.lr, sample.sp, sample.fp)
}

/// Code that is mapped from a file, by a line of proc_pid_maps(5): addresses, offset in the file, path.
fn code_of(line: &str) -> Option<(std::ops::Range<u64>, u64, &Path)> {
    let mut words = line.splitn(6, ' ');
    let (from, to) = words.next()?.split_once('-')?;
    let is_code = words.next()?.contains('x');
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let path = words.nth(2)?.trim();
    let range = u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?;
    (is_code && path.starts_with('/')).then(|| (range, offset, Path::new(path)))
}

fn load(path: &Path, code: std::ops::Range<u64>, offset: u64) -> Option<(LoadedFile, Module<Vec<u8>>)> {
    // A service that was replaced on the disk while it runs: the link leads to what is running.
    let own = std::fs::read_link("/proc/self/exe").is_ok_and(|exe| exe == path);
    let path = if own { Path::new("/proc/self/exe") } else { path };
    let cache = object::ReadCache::new(std::fs::File::open(path).ok()?);
    let file = object::File::parse(&cache).ok()?;
    // The segment this mapping is of: mappings are of whole pages, so the one of data before it may reach into its first.
    let segment = file.segments().find(|segment| {
        let is_code = matches!(segment.flags(), object::SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
        let (begin, size) = segment.file_range();
        is_code && (begin & !0xfff..begin + size).contains(&offset)
    })?;
    let base = code.start.wrapping_sub(segment.address().wrapping_sub(segment.file_range().0).wrapping_add(offset));
    let section = |name: &str| {
        let section = file.section_by_name(name)?;
        Some((section.address()..section.address() + section.size(), section.uncompressed_data().ok()?.into_owned()))
    };
    let range = |name: &str| file.section_by_name(name).map(|section| section.address()..section.address() + section.size());
    let (eh_frame_svma, eh_frame) = section(".eh_frame").unzip();
    let (eh_frame_hdr_svma, eh_frame_hdr) = section(".eh_frame_hdr").unzip();
    let sections = ExplicitModuleSectionInfo {
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma,
        eh_frame,
        eh_frame_hdr_svma,
        eh_frame_hdr,
        ..ExplicitModuleSectionInfo::default()
    };
    let module = Module::new(path.display().to_string(), code.clone(), base, sections);
    Some((LoadedFile { path: path.to_owned(), code, base }, module))
}

/// The function at an address, with those it was inlined into before it.
fn functions(file: &LoadedFile, loader: Option<&Loader>, address: u64) -> Vec<String> {
    let at = address.wrapping_sub(file.base);
    let mut found = Vec::new();
    if let Some(mut frames) = loader.and_then(|loader| loader.find_frames(at).ok()) {
        while let Ok(Some(frame)) = frames.next() {
            if let Some(name) = frame.function {
                found.push(readable(&name.demangle().unwrap_or_default()));
            }
        }
        found.reverse();
    }
    if found.is_empty() {
        let symbol = loader.and_then(|loader| loader.find_symbol(at));
        let of = || file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.push(symbol.map_or_else(|| format!("[{}]", of()), |name| readable(&addr2line::demangle_auto(name.into(), None))));
    }
    found
}

/// Without the hash at its end, and without what folded stacks give a meaning.
fn readable(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    };
    name.replace(';', ":")
}

/// Threads of one kind under one name: `pixmill-cpu-3` is `pixmill-cpu`.
fn kind_of(name: &[u8; 16]) -> String {
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['-', '_', ' ', '#']);
    if kind.is_empty() { "unnamed".into() } else { kind.replace(';', ":") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_names_and_kinds_are_read() {
        let line = "5581d000-5582e000 r-xp 0001a000 fd:00 123                        /usr/bin/a b";
        assert_eq!(code_of(line), Some((0x5581_d000..0x5582_e000, 0x1a000, Path::new("/usr/bin/a b"))));
        for none in ["", "5581d000-5582e000 rw-p 0 fd:00 1 /x", "7ffc-7ffd r-xp 00000000 00:00 0                  [vdso]", "x"] {
            assert_eq!(code_of(none), None, "{none}");
        }
        assert_eq!(readable("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(readable("<[u8; 4] as a::hello>::x"), "<[u8: 4] as a::hello>::x");
        let kind = |name: &str| {
            let mut bytes = [0; 16];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            kind_of(&bytes)
        };
        assert_eq!(
            (kind("pixmill-cpu-12").as_str(), kind("pixmill-io").as_str(), kind("7").as_str()),
            ("pixmill-cpu", "pixmill-io", "unnamed")
        );
    }
}
