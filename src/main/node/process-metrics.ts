import type { Registry } from '@prometheus-io/client';
import collectGc from '@prometheus-io/client/lib/metrics/gc.js';
import collectHeap from '@prometheus-io/client/lib/metrics/heapSizeAndUsed.js';
import collectHeapSpaces from '@prometheus-io/client/lib/metrics/heapSpacesSizeAndUsed.js';
import collectMemory from '@prometheus-io/client/lib/metrics/osMemoryHeap.js';
import collectCpu from '@prometheus-io/client/lib/metrics/processCpuTotal.js';
import collectMostDescriptors from '@prometheus-io/client/lib/metrics/processMaxFileDescriptors.js';
import collectDescriptors from '@prometheus-io/client/lib/metrics/processOpenFileDescriptors.js';
import collectResources from '@prometheus-io/client/lib/metrics/processResources.js';
import collectStart from '@prometheus-io/client/lib/metrics/processStartTime.js';
import collectVersion from '@prometheus-io/client/lib/metrics/version.js';

const parts = [
  collectCpu,
  collectStart,
  collectMemory,
  collectDescriptors,
  collectMostDescriptors,
  collectResources,
  collectHeap,
  collectHeapSpaces,
  collectVersion,
  collectGc,
];

/**
 * The usual metrics of a Node process, without those of the event loop: their timers, one of 10 ms and one of 100 ms, would use 10 ms of
 * processor time in each idle second.
 */
export function collectProcessMetrics(registry: Registry): void {
  for (const collect of parts) collect(registry);
}
