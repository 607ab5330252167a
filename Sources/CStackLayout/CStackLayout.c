#include "CStackLayout.h"
