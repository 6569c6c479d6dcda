//! The table of C functions that SQLite calls. Each does one thing: turn raw pointers into what [`Medium`] takes.
//!
//! What SQLite promises, and every `unsafe` here rests on: a `sqlite3_file` it hands in is the one `open` filled, until
//! `close`; buffers are as long as it says; one connection's calls don't overlap.
#![allow(unsafe_code)]

use crate::medium::{Fault, Medium, Refusal, lock, name_of};
use libsqlite3_sys as sys;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What `sqlite3_file` really is here.
#[repr(C)]
struct OpenFile {
    base: sys::sqlite3_file,
    inside: *mut Inside,
}

struct Inside {
    file: File,
    path: PathBuf,
    name: String,
    delete_on_close: bool,
    medium: Arc<Mutex<Medium>>,
}

static METHODS: sys::sqlite3_io_methods = sys::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(no_lock),
    xUnlock: Some(no_lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Registers a VFS for a medium and gives its name. Both live as long as the process.
pub(crate) fn register(medium: &Arc<Mutex<Medium>>) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let name = format!("faultfs-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let c_name = CString::new(name.clone()).unwrap_or_default();
    let app_data: *const Mutex<Medium> = Arc::into_raw(Arc::clone(medium));
    let vfs = Box::new(sys::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<OpenFile>()).unwrap_or(c_int::MAX),
        mxPathname: 1024,
        pNext: ptr::null_mut(),
        zName: c_name.into_raw(),
        pAppData: app_data.cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    });
    // SAFETY: the VFS, its name and its medium are leaked on purpose and so outlive every use.
    let code = unsafe { sys::sqlite3_vfs_register(Box::leak(vfs), 0) };
    assert_eq!(code, sys::SQLITE_OK, "SQLite refused to register {name}");
    name
}

fn code(result: Result<(), Refusal>, io_code: c_int) -> c_int {
    match result {
        Ok(()) => sys::SQLITE_OK,
        Err(Refusal::Fault(Fault::Full)) => sys::SQLITE_FULL,
        Err(Refusal::Fault(Fault::Broken) | Refusal::Io) => io_code,
    }
}

unsafe fn inside<'a>(file: *mut sys::sqlite3_file) -> &'a mut Inside {
    // SAFETY: see the module's promise; `open` set the pointer.
    unsafe { &mut *(*file.cast::<OpenFile>()).inside }
}

unsafe fn medium_of<'a>(vfs: *mut sys::sqlite3_vfs) -> &'a Mutex<Medium> {
    // SAFETY: `register` put a leaked medium there.
    unsafe { &*(*vfs).pAppData.cast::<Mutex<Medium>>() }
}

unsafe fn path(name: *const c_char) -> PathBuf {
    if name.is_null() {
        return std::env::temp_dir().join(format!("faultfs-temp-{}", std::process::id()));
    }
    // SAFETY: SQLite hands in a C string.
    PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

unsafe extern "C" fn open(
    vfs: *mut sys::sqlite3_vfs,
    name: *const c_char,
    file: *mut sys::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: see the module's promise. `base.pMethods` is null until the file is whole, so a failed open is not closed.
    unsafe {
        (*file).pMethods = ptr::null();
        let path = path(name);
        let data: *const Mutex<Medium> = medium_of(vfs);
        Arc::increment_strong_count(data);
        let medium = Arc::from_raw(data);
        let create = flags & sys::SQLITE_OPEN_CREATE != 0;
        let write = flags & sys::SQLITE_OPEN_READWRITE != 0;
        let Ok(opened) = lock(&medium).open(&path, create, write) else { return sys::SQLITE_CANTOPEN };
        let inside = Inside {
            file: opened,
            name: name_of(&path),
            path,
            delete_on_close: flags & sys::SQLITE_OPEN_DELETEONCLOSE != 0,
            medium,
        };
        (*file.cast::<OpenFile>()).inside = Box::into_raw(Box::new(inside));
        (*file).pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    sys::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sys::sqlite3_file) -> c_int {
    // SAFETY: `open` made the box, and SQLite closes once.
    let inside = unsafe { Box::from_raw((*file.cast::<OpenFile>()).inside) };
    if inside.delete_on_close {
        // A temporary file that is already gone is as good as deleted.
        std::fs::remove_file(&inside.path).ok();
    }
    sys::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut sys::sqlite3_file, to: *mut c_void, amount: c_int, at: i64) -> c_int {
    let (Ok(amount), Ok(mut at)) = (usize::try_from(amount), u64::try_from(at)) else {
        return sys::SQLITE_IOERR_READ;
    };
    // SAFETY: the buffer is as long as SQLite says.
    let (inside, buffer) = unsafe { (inside(file), std::slice::from_raw_parts_mut(to.cast::<u8>(), amount)) };
    let mut filled = 0;
    while filled < amount {
        match inside.file.read_at(&mut buffer[filled..], at) {
            Ok(0) => {
                buffer[filled..].fill(0);
                return sys::SQLITE_IOERR_SHORT_READ;
            }
            Ok(read) => {
                filled += read;
                at += read as u64;
            }
            Err(_) => return sys::SQLITE_IOERR_READ,
        }
    }
    sys::SQLITE_OK
}

unsafe extern "C" fn write(
    file: *mut sys::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    let (Ok(amount), Ok(at)) = (usize::try_from(amount), u64::try_from(at)) else {
        return sys::SQLITE_IOERR_WRITE;
    };
    // SAFETY: the buffer is as long as SQLite says.
    let (inside, bytes) = unsafe { (inside(file), std::slice::from_raw_parts(from.cast::<u8>(), amount)) };
    let result = lock(&inside.medium).write(&inside.file, &inside.name, at, bytes);
    code(result, sys::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut sys::sqlite3_file, size: i64) -> c_int {
    // SAFETY: see the module's promise.
    let inside = unsafe { inside(file) };
    let Ok(size) = u64::try_from(size) else { return sys::SQLITE_IOERR_TRUNCATE };
    let result = lock(&inside.medium).truncate(&inside.file, &inside.name, size);
    code(result, sys::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut sys::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: see the module's promise.
    let inside = unsafe { inside(file) };
    let result = lock(&inside.medium).sync(&inside.name);
    code(result, sys::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut sys::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: see the module's promise; `size` is SQLite's own.
    unsafe {
        match inside(file).file.metadata() {
            Ok(metadata) => {
                *size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
                sys::SQLITE_OK
            }
            Err(_) => sys::SQLITE_IOERR_FSTAT,
        }
    }
}

unsafe extern "C" fn no_lock(_file: *mut sys::sqlite3_file, _lock: c_int) -> c_int {
    sys::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut sys::sqlite3_file, held: *mut c_int) -> c_int {
    // SAFETY: `held` is SQLite's own.
    unsafe { *held = 0 };
    sys::SQLITE_OK
}

unsafe extern "C" fn file_control(_file: *mut sys::sqlite3_file, _op: c_int, _arg: *mut c_void) -> c_int {
    sys::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut sys::sqlite3_file) -> c_int {
    512
}

/// What the platform's own VFS says of any disk: a write does not harm bytes beside it. Nothing else is promised.
unsafe extern "C" fn device_characteristics(_file: *mut sys::sqlite3_file) -> c_int {
    sys::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(vfs: *mut sys::sqlite3_vfs, name: *const c_char, _sync_dir: c_int) -> c_int {
    // SAFETY: see the module's promise.
    let (medium, path) = unsafe { (medium_of(vfs), path(name)) };
    if !path.exists() {
        return sys::SQLITE_IOERR_DELETE_NOENT;
    }
    let mut medium = medium.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    code(medium.delete(&path), sys::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(
    _vfs: *mut sys::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: `out` is SQLite's own. An empty file counts as none, as in the platform's VFS.
    unsafe { *out = c_int::from(std::fs::metadata(path(name)).is_ok_and(|m| m.len() > 0)) };
    sys::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut sys::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands in a C string, and a buffer of `room` bytes that does not overlap it.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > usize::try_from(room).unwrap_or(0) {
            return sys::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    sys::SQLITE_OK
}

/// SQLite asks only its default VFS, which this never is.
unsafe extern "C" fn randomness(_vfs: *mut sys::sqlite3_vfs, amount: c_int, out: *mut c_char) -> c_int {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let amount = usize::try_from(amount).unwrap_or(0);
    // SAFETY: the buffer is as long as SQLite says.
    let buffer = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), amount) };
    let mut state = call.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in buffer {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    c_int::try_from(amount).unwrap_or(0)
}

unsafe extern "C" fn sleep(_vfs: *mut sys::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn current_time(_vfs: *mut sys::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: `out` is SQLite's own. 2026-01-01 as a Julian day.
    unsafe { *out = 2_461_041.5 };
    sys::SQLITE_OK
}
