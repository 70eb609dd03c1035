/** The accounts at vendors (contract 2.2, and provider-configs of 2.8): all their routes. */
import { addAliyunConfigRoutes, AliyunConfigSchema } from './aliyun.ts';
import { addAliyunSpeechRoutes } from './aliyun-speech.ts';
import { addProviderConfigRoutes, ProviderConfigSchema } from './provider-configs.ts';
import type { ApiServer } from './routing.ts';
import type { VendorsPart } from './vendor-part.ts';
import { addVolcengineRoutes, VolcengineConfigSchema } from './volcengine.ts';

export function addVendorRoutes(app: ApiServer, part: VendorsPart): void {
  app.addSchema(AliyunConfigSchema);
  app.addSchema(VolcengineConfigSchema);
  app.addSchema(ProviderConfigSchema);
  addAliyunConfigRoutes(app, part);
  addAliyunSpeechRoutes(app, part);
  addVolcengineRoutes(app, part);
  addProviderConfigRoutes(app, part);
}
