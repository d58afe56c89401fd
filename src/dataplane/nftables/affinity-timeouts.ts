/**
 * For how long clients with affinity are kept at their nodes, in seconds. A rule has a constant timeout, so each of these has a chain;
 * 86,400 is the most that Kubernetes accepts.
 */
export const affinityTimeouts = [
  10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
] as const;

/** Rounded up to the next of {@link affinityTimeouts}. */
export function affinityTimeout(seconds: number): number {
  return affinityTimeouts.find((each) => each >= seconds) ?? 86_400;
}
