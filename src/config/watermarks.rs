//! The files behind watermarks, read and decoded: once, before anything is served.
//!
//! Invariant: whatever is wrong with one of them, or with a preset that names one, is said at the start, with the name.

use std::{fs, sync::Arc};

use image_pipeline::{Limits, Spec, Watermarks};

use super::{Config, ConfigError};

impl Config {
    /// The images that options may lay over others.
    ///
    /// # Errors
    /// When a file cannot be read, is no image that is read, or passes the limits; when they hold more than a quarter of the memory budget together;
    /// when a preset names one that is not there.
    pub fn read_watermarks(&self) -> Result<Arc<Watermarks>, ConfigError> {
        // The operator's own files: a drawing among them is as good as a photo.
        let limits = Limits { allow_svg: true, ..self.ingest.image };
        let mut all = Watermarks::default();
        for (name, path) in &self.watermarks {
            let failed = |text: String| ConfigError(format!("watermark {name}: {}: {text}", path.display()));
            let file = fs::read(path).map_err(|error| failed(format!("cannot read it: {error}")))?;
            all = all.with(name, &file, &limits).map_err(|error| failed(error.to_string()))?;
        }
        let (held, budget) = (all.bytes(), self.pool.memory_budget_bytes);
        if held > budget / 4 {
            let text = format!("the watermarks hold {held} bytes decoded, a quarter of memory-budget ({budget}) is allowed");
            return Err(ConfigError(text));
        }
        for (name, options) in self.presets.iter() {
            let spec = Spec::parse(options, &self.presets).map_err(|error| ConfigError(format!("preset {name}: {error}")))?;
            all.check(&spec).map_err(|error| ConfigError(format!("preset {name}: {error}")))?;
        }
        Ok(Arc::new(all))
    }
}
