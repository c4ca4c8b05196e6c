/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider.c - the registry of providers, by name.
 *
 * May touch:  base, loop, config.
 * Threads:    any; constant.
 */
#include "provider/provider_priv.h"

static const struct provider_ops *const registry[] = {
#define PROVIDER_ROW(name) &provider_##name##_ops,
#include "provider/provider_registry.def"
#undef PROVIDER_ROW
};

const struct provider_ops *
provider_find(const char *name)
{
    for (size_t i = 0; i < sizeof(registry) / sizeof(registry[0]); i++)
        if (strcmp(registry[i]->name, name) == 0)
            return registry[i];
    return NULL;
}

const char *
provider_names(void)
{
    /* ", static, process": the words begin behind the first separator. */
    static const char names[] =
#define PROVIDER_ROW(name) ", " #name
#include "provider/provider_registry.def"
#undef PROVIDER_ROW
        ;
    return names + 2;
}
