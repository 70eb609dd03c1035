/** Every vendor that has a client here, apart from those that need no account (`local`, `sim`). One line each. */
import { ALIYUN } from './aliyun/module.ts';
import { BAIDU } from './baidu/module.ts';
import { DASHSCOPE } from './dashscope/module.ts';
import { IFLYTEK } from './iflytek/module.ts';
import { MINIMAX } from './minimax/module.ts';
import { MODEL_SERVICE } from './model-service/module.ts';
import { CHAT_ONLY } from './openai/chat-vendors.ts';
import { OPENAI } from './openai/module.ts';
import { TENCENT } from './tencent/module.ts';
import type { VendorModule } from './vendor.ts';
import { VOLCENGINE } from './volcengine/module.ts';

export const VENDORS: readonly VendorModule[] = [
  ALIYUN,
  BAIDU,
  DASHSCOPE,
  IFLYTEK,
  MINIMAX,
  MODEL_SERVICE,
  OPENAI,
  ...CHAT_ONLY,
  TENCENT,
  VOLCENGINE,
];
