# A stand-in for LuCI's rules: htdocs/ lands in /www, root/ in /. Translations other than the template come through LuCI's own
# translators and are packages of their own there, so none is made here.

PKG_NAME := $(notdir $(CURDIR))
PKG_RELEASE ?= 1
include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  TITLE:=$(LUCI_TITLE)
  DEPENDS:=$(LUCI_DEPENDS)
  PKGARCH:=$(LUCI_PKGARCH)
endef

define Package/$(PKG_NAME)/description
  $(if $(LUCI_DESCRIPTION),$(LUCI_DESCRIPTION),$(LUCI_TITLE))
endef

define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) '$(1)/www'
	cp -R '$(CURDIR)/htdocs/.' '$(1)/www'
	cp -R '$(CURDIR)/root/.' '$(1)'
endef

# LuCI keeps its menu, and rpcd its rights, until they are told that there are new ones.
define Package/$(PKG_NAME)/postinst
#!/bin/sh
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -rf /tmp/luci-indexcache.* /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null
	exit 0
}
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
