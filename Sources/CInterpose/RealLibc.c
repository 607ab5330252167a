#include "SluiceEntry.h"
