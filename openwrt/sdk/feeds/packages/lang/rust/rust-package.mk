# A stand-in for the feed's rules for Rust. The binary is built already, and its processor is decided.

RUST_ARCH_DEPENDS :=
define RustBinPackage
endef
