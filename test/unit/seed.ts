import fc from 'fast-check';

// In CI the same commit gives the same result. Elsewhere each run of a property has other inputs.
if (process.env['CI'] === 'true') fc.configureGlobal({ seed: 20_261_129 });
