# A stand-in for the first file that a package of OpenWrt includes: as much as openwrt/pack needs to read the Makefiles of this folder
# and to run their install recipes without OpenWrt's build system.

INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
CP := cp -fpR
LN := ln -sf
