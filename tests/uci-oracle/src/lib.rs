//! What libuci makes of UCI text, by its own code, as values of Rust. Entered through [`read`]. Everything unsafe of
//! this crate is here. It loads by absolute path, as the bus reads, so that no uncommitted changes are merged.

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libuci_sys as libuci;

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// By `option`.
    Single(Vec<u8>),
    /// By `list`.
    List(Vec<Vec<u8>>),
}

/// A section with its options in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its type.
    pub kind: Vec<u8>,
    /// Its name, unless it is anonymous.
    pub name: Option<Vec<u8>>,
    /// Names and values.
    pub options: Vec<(Vec<u8>, Value)>,
}

/// The sections of a UCI file in strict mode, or `None` if libuci refuses it. The file's name MUST be a package's:
/// letters, digits, `_` and `-`.
pub fn read(path: &Path) -> Option<Vec<Section>> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("the path has no zero byte");
    // SAFETY: the context is made and freed here, the package lives as long as it, and nothing of it is kept.
    unsafe {
        let context = libuci::uci_alloc_context();
        assert!(!context.is_null(), "libuci has no memory");
        let mut package: *mut libuci::uci_package = ptr::null_mut();
        let status = libuci::uci_load(context, path.as_ptr(), &mut package);
        let sections = (status == 0 && !package.is_null()).then(|| {
            let sections = elements(&raw const (*package).sections);
            sections
                .into_iter()
                .map(|element| section(element.cast()))
                .collect()
        });
        libuci::uci_free_context(context);
        sections
    }
}

/// SAFETY: `of` MUST point to a section that is alive.
unsafe fn section(of: *const libuci::uci_section) -> Section {
    // SAFETY: the caller's; an option's union is what its type says.
    unsafe {
        let option = |element: *const libuci::uci_element| {
            let option: *const libuci::uci_option = element.cast();
            let value = if (*option).type_ == libuci::uci_option_type_UCI_TYPE_STRING {
                Value::Single(bytes((*option).v.string))
            } else {
                let items = elements(&raw const (*option).v.list);
                Value::List(items.into_iter().map(|item| bytes((*item).name)).collect())
            };
            (bytes((*element).name), value)
        };
        Section {
            kind: bytes((*of).type_),
            name: (!(*of).anonymous).then(|| bytes((*of).e.name)),
            options: elements(&raw const (*of).options)
                .into_iter()
                .map(option)
                .collect(),
        }
    }
}

/// The elements of a list. Each begins with the links of its list.
///
/// SAFETY: `head` MUST point to the head of a list that is alive.
unsafe fn elements(head: *const libuci::uci_list) -> Vec<*const libuci::uci_element> {
    let mut found = Vec::new();
    // SAFETY: the caller's; the list is circular, so it ends at its head.
    unsafe {
        let mut link = (*head).next.cast_const();
        while !ptr::eq(link, head) {
            found.push(link.cast());
            link = (*link).next.cast_const();
        }
    }
    found
}

/// SAFETY: `text` MUST be a C string that is alive.
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}
