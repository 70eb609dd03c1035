/** Every vendor that has a client here, apart from those that need no account (`local`, `sim`). One line each. */
import type { VendorModule } from './vendor.ts';

export const VENDORS: readonly VendorModule[] = [];
