/** Each file adds one kind of metric of the process. The package declares the types of all of them together only. */
declare module '@prometheus-io/client/lib/metrics/*' {
  import type { Registry } from '@prometheus-io/client';
  const collect: (registry: Registry) => void;
  export default collect;
}
