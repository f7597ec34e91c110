# A stand-in for OpenWrt's package.mk. The target `parts` installs the package PKG_NAME below DESTDIR and writes what the Makefile says
# of it into files below PARTS: `fields` (the control file up to the size), `description`, `conffiles`, and the scripts of its own.

VERSION := $(PKG_VERSION)-r$(PKG_RELEASE)
PKGARCH := $(ARCHITECTURE)
comma := ,
empty :=
space := $(empty) $(empty)

# A list of words as OpenWrt's control files write lists.
listed = $(subst $(space),$(comma) ,$(strip $(1)))
# A field, if it has a value. The end of the line belongs to it.
field = $(if $(strip $(2)),$(1): $(strip $(2))$(newline))
define newline


endef

# `+name` is a package that is installed along; CARRIED are libraries that a static binary has within.
dependencies = $(patsubst +%,%,$(filter-out @% $(addprefix +,$(CARRIED)),$(DEPENDS)))

# The order is that of OpenWrt's own control files.
define fields
$(call field,Package,$(1))$(call field,Version,$(VERSION))$(call field,Depends,$(call \
  listed,libc $(dependencies)))$(call field,Conflicts,$(call listed,$(CONFLICTS)))$(call field,Provides,$(call \
  listed,$(patsubst @%,%,$(PROVIDES))))$(call field,Source,$(SOURCE))$(call field,SourceName,$(PKG_NAME))$(call \
  field,License,$(PKG_LICENSE))$(call field,LicenseFiles,$(PKG_LICENSE_FILES))$(call field,Section,$(SECTION))$(call \
  field,Require-User,$(USERID))$(call field,SourceDateEpoch,$(SOURCE_DATE_EPOCH))$(call field,URL,$(URL))$(call \
  field,CPE-ID,$(PKG_CPE_ID))$(call field,Maintainer,$(PKG_MAINTAINER))Architecture: $(PKGARCH)
endef

define BuildPackage
$(eval $(Package/$(1)))
.PHONY: parts
parts:
	install -d '$(DESTDIR)' '$(PARTS)'
	$(call Package/$(1)/install,$(DESTDIR))
	$$(file >$(PARTS)/fields,$$(call fields,$(1)))
	$$(file >$(PARTS)/description,$$(Package/$(1)/description))
	$$(if $$(Package/$(1)/conffiles),$$(file >$(PARTS)/conffiles,$$(Package/$(1)/conffiles)))
	$$(foreach script,preinst postrm,$$(if $$(Package/$(1)/$$(script)),$$(file >$(PARTS)/$$(script),$$(Package/$(1)/$$(script)))))
	$$(foreach script,postinst prerm,$$(if $$(Package/$(1)/$$(script)),$$(file >$(PARTS)/$$(script)-pkg,$$(Package/$(1)/$$(script)))))
endef
