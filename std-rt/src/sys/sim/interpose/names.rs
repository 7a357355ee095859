//! The look-up of names by the C library: in a simulation a name is that of a host.

#![expect(unsafe_code, reason = "defines functions of the C library")]

use std::ffi::{CStr, c_char, c_int};
use std::net::SocketAddr;
use std::ptr;

use libc::addrinfo;
use rustix::net::SocketAddrAny;

use super::super::current;
use super::real;

/// An entry of a simulated answer.
#[repr(C)]
struct Entry {
    /// Points to the address beside it.
    info: addrinfo,
    address: SocketAddrAny,
}

/// The canonical name of every simulated entry. [`freeaddrinfo`] knows the entry by the address of this name.
static SIMULATED: [c_char; 1] = [0];

/// Looks a name up, as getaddrinfo(3) does.
///
/// # Safety
///
/// The pointers are null or valid, and `found` is valid.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    let kernel = current().filter(|_| !node.is_null());
    let Some(kernel) = kernel else {
        type Real =
            unsafe extern "C" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;
        // SAFETY: the C library's function has this signature.
        let real = unsafe { std::mem::transmute::<*mut std::ffi::c_void, Real>(real(c"getaddrinfo")) };
        // SAFETY: the caller's arguments are those of the function.
        return unsafe { real(node, service, hints, found) };
    };
    // SAFETY: the caller passes a string that ends with a null.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    let port = if service.is_null() { Some(0) } else { text(service).parse().ok() };
    let Some(port) = port else { return libc::EAI_SERVICE };
    let Ok(addresses) = kernel.lock().look_up(&text(node), port) else { return libc::EAI_NONAME };
    // SAFETY: the caller passes null or a valid pointer.
    let kind = unsafe { hints.as_ref() }.map_or(libc::SOCK_STREAM, |hints| hints.ai_socktype);
    let mut next = ptr::null_mut();
    for address in addresses.into_iter().rev() {
        next = entry(address, kind, next);
    }
    // SAFETY: the caller's pointer may be written.
    unsafe { *found = next };
    0
}

/// Returns an entry that is followed by another one.
fn entry(address: SocketAddr, kind: c_int, next: *mut addrinfo) -> *mut addrinfo {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let address = SocketAddrAny::from(address);
    let length = address.addr_len();
    let info = addrinfo {
        ai_flags: 0,
        ai_family: family,
        ai_socktype: kind,
        ai_protocol: 0,
        ai_addrlen: length,
        ai_addr: ptr::null_mut(),
        ai_canonname: SIMULATED.as_ptr().cast_mut(),
        ai_next: next,
    };
    let entry = Box::leak(Box::new(Entry { info, address }));
    entry.info.ai_addr = entry.address.as_mut_ptr().cast();
    (&raw mut *entry).cast()
}

/// Frees an answer, as freeaddrinfo(3) does.
///
/// # Safety
///
/// `info` is the answer of `getaddrinfo`, and is not used again.
// SAFETY: the signature and the effect are those that POSIX has for this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn freeaddrinfo(mut info: *mut addrinfo) {
    // SAFETY: the caller passes an answer, or null.
    while let Some(first) = unsafe { info.as_ref() } {
        if !ptr::eq(first.ai_canonname, SIMULATED.as_ptr()) {
            // SAFETY: the C library's function has this signature.
            let real = unsafe {
                std::mem::transmute::<*mut std::ffi::c_void, unsafe extern "C" fn(*mut addrinfo)>(real(
                    c"freeaddrinfo",
                ))
            };
            // SAFETY: the whole answer is the C library's: no entry is simulated.
            return unsafe { real(info) };
        }
        let next = first.ai_next;
        // SAFETY: the pointer is that to the first field of an entry that was leaked, and the caller does not use it again.
        drop(unsafe { Box::from_raw(info.cast::<Entry>()) });
        info = next;
    }
}
