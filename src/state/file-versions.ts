/** The versions of the formats of the files in the state directory, as this release writes them; it reads older ones, too. */
export const fileVersions = {
  ledger: 2,
  listeners: 4,
  nodes: 2,
  backends: 1,
  withoutEndpoints: 1,
  placement: 2,
  identity: 1,
  drains: 1,
  drainedServices: 1,
  candidates: 1,
  tenure: 1,
  answeringNodes: 1,
} as const;
