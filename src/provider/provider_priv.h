/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_priv.h - what the provider room's files share: the registry's entries.
 */
#ifndef PROVIDER_PRIV_H
#define PROVIDER_PRIV_H

#include "provider/provider.h"

#define PROVIDER_ROW(name) extern const struct provider_ops provider_##name##_ops;
#include "provider/provider_registry.def"
#undef PROVIDER_ROW

#endif
