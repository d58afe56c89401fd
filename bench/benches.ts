import { attack } from './attack.ts';
import type { Bench } from './bench.ts';
import { burst } from './burst.ts';
import { churn } from './churn.ts';
import { direct } from './direct.ts';
import { firstByte } from './first-byte.ts';
import { nat } from './nat.ts';
import { publish } from './publish.ts';
import { scale } from './scale.ts';
import { throughput } from './throughput.ts';

/** In the order in which they run. */
export const benches: readonly Bench[] = [publish, burst, firstByte, churn, scale, throughput, direct, nat, attack];
