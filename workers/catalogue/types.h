/* Short names for the generated message types that the catalogue writer works with. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/gen/catalog.pb-c.h"
#include "contracts/gen/events.pb-c.h"

typedef Echora__Catalog__V1__Anime Anime;
typedef Echora__Catalog__V1__Character Character;
typedef Echora__Catalog__V1__Episode Episode;
typedef Echora__Catalog__V1__CompanyEntry CompanyEntry;
typedef Echora__Catalog__V1__RelatedAnime RelatedAnime;
typedef Echora__Catalog__V1__RelatedSourceMaterial RelatedSourceMaterial;
