import { attack } from './attack.ts';
import type { Bench } from './bench.ts';
import { burst } from './burst.ts';
import { churn, featureChurn } from './churn.ts';
import { cut } from './cut.ts';
import { direct } from './direct.ts';
import { endpoints } from './endpoints.ts';
import { features } from './features.ts';
import { firstByte } from './first-byte.ts';
import { hop } from './hop.ts';
import { idle } from './idle.ts';
import { localScale } from './local-scale.ts';
import { nat } from './nat.ts';
import { pods } from './pods.ts';
import { publish } from './publish.ts';
import { restarts } from './restarts.ts';
import { scale } from './scale.ts';
import { sourceRanges } from './source-ranges.ts';
import { throughput } from './throughput.ts';

/** In the order in which they run. */
export const benches: readonly Bench[] = [
  publish,
  burst,
  firstByte,
  pods,
  cut,
  restarts,
  churn,
  featureChurn,
  scale,
  sourceRanges,
  throughput,
  features,
  direct,
  hop,
  nat,
  endpoints,
  idle,
  localScale,
  attack,
];
