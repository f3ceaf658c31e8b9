"""Shadow models: many small originals, each of which unlearns its share of D_f, for the attacks of a whole population.

Models come in pairs that divide the training pool: 2k is trained on a random half, 2k + 1 on the rest. So every sample
is in exactly half of the models, and a model can be held out together with the one that has what it lacks. Each model
is pruned as its state says and then forgets the part of the cell's own D_f that lies in its half. One pool serves
every metric:

* A sample of D_f is unlearned by the models that had it and was never seen by the others, which unlearned the rest of
  their D_f; U-LiRA (Hayes et al., 2024) and RMIA (Zarifzadeh et al., ICML 2024) tell the two apart. So one unlearning
  per model attacks all of D_f; Hayes et al. draw many forget sets for each model and so need many unlearnings.
* The oracles of the grid run on the same halves without D_f. KLOM (Georgiev et al., 2024) and the ε-score
  (Triantafillou et al., 2024) compare, sample by sample, the N/2 models that unlearned it with the N/2 oracles of the
  same halves: both sets vary in the same data and the same randomness, and differ only in how the sample left. As
  published, all models of a set share D_f and training set; that would take 2N trainings on all of the data more.

The originals are trained once per seed and state, packed in one file a job, and serve every scenario and unlearner. Of
the unlearned models only the answers are kept: the margin φ of every sample, in float32, all that the metrics read.
"""
